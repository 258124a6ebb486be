// Command bench compares the replicator with itself and with the real nginx, in one run on this machine's loopback:
//
//   - what copying costs: CPU time per request of the proxy with the tap off, at one session in ten, and copying all
//   - throughput: the same proxies, and nginx with and without its mirror
//   - harm: the tap's proxy with its broker dead, and with one that hangs, against the tap off
//   - packets: how much of 128 KiB POSTs and of small GETs the passive capture gets
//
// Every part is a process of its own (this program again), so that CPU time is told apart. All variants take turns within
// each round, so that what else happens on the machine meets all of them. It prints a table, and JSON with -json.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"text/tabwriter"
	"time"
)

type options struct {
	rounds int
	length time.Duration
	rate   float64
	json   string
	role   string
	target string
	broker string
	ratio  float64
	port   int
	huge   int64
}

func main() {
	var o options
	flag.IntVar(&o.rounds, "rounds", 3, "how often all variants take turns")
	flag.DurationVar(&o.length, "length", 1200*time.Millisecond, "length of one turn")
	flag.Float64Var(&o.rate, "rate", 2000, "requests per second of the open loop")
	flag.StringVar(&o.json, "json", "", "file for the results as JSON")
	flag.Int64Var(&o.huge, "huge", 0, "instead: send one body of so many GiB through a proxy of at most 128 MiB")
	flag.StringVar(&o.role, "role", "", "internal: which part this process is")
	flag.StringVar(&o.target, "target", "", "internal: address of the application")
	flag.StringVar(&o.broker, "broker", "", "internal: address of the broker")
	flag.Float64Var(&o.ratio, "ratio", 0, "internal: sample ratio")
	flag.IntVar(&o.port, "port", 0, "internal: port to listen at")
	flag.Parse()
	run := bench
	switch {
	case o.role != "":
		run = runRole
	case o.huge > 0:
		run = hugeBody
	}
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// figure is what was measured of one variant.
type figure struct {
	Variant       string  `json:"variant"`
	CPUMicros     float64 `json:"cpu_us_per_request,omitempty"`
	P50Micros     float64 `json:"p50_us,omitempty"`
	P99Micros     float64 `json:"p99_us,omitempty"`
	PerSecond     float64 `json:"requests_per_second,omitempty"`
	CPURatio      float64 `json:"cpu_to_tap_off,omitempty"`
	P50Ratio      float64 `json:"p50_to_tap_off,omitempty"`
	PerSecRatio   float64 `json:"throughput_to_tap_off,omitempty"`
	ToNginxMirror float64 `json:"throughput_to_nginx_with_mirror,omitempty"`
	Errors        int     `json:"errors"`
}

// results is the whole run.
type results struct {
	Figures []figure       `json:"proxy"`
	Packets []packetFigure `json:"packet"`
	Skipped []string       `json:"skipped,omitempty"`
}

func bench(o options) error {
	var all results
	s := &stage{}
	defer s.stop()
	if err := s.start(&all); err != nil {
		return err
	}
	cpu, p50, p99, rate := samples{}, samples{}, samples{}, samples{}
	errs := map[string]int{}
	for range o.rounds {
		for _, v := range s.variants {
			before := v.cpu()
			r := openLoop(v.address, o.rate, o.length)
			if used := v.cpu() - before; used > 0 && r.done > 0 {
				cpu.add(v.name, float64(used.Nanoseconds())/1e3/float64(r.done))
			}
			p50.add(v.name, r.quantile(0.5))
			p99.add(v.name, r.quantile(0.99))
			errs[v.name] += r.failed
		}
		for _, v := range s.variants {
			r := closedLoop(v.address, o.length)
			rate.add(v.name, float64(r.done)/r.took.Seconds())
			errs[v.name] += r.failed
		}
	}
	for _, v := range s.variants {
		all.Figures = append(all.Figures, figure{
			Variant: v.name, CPUMicros: cpu.median(v.name), P50Micros: p50.median(v.name), P99Micros: p99.median(v.name), PerSecond: rate.median(v.name),
			// Ratios are taken within each round, and their median is what is told.
			CPURatio: cpu.ratio(v.name, tapOff), P50Ratio: p50.ratio(v.name, tapOff), PerSecRatio: rate.ratio(v.name, tapOff),
			ToNginxMirror: rate.ratio(v.name, nginxMirror), Errors: errs[v.name],
		})
	}
	s.stop()
	packets, err := benchPackets(&all)
	if err != nil {
		return err
	}
	all.Packets = packets
	all.print()
	if o.json == "" {
		return nil
	}
	data, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return fmt.Errorf("encode results: %w", err)
	}
	return os.WriteFile(o.json, append(data, '\n'), 0o600)
}

func (r results) print() {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "variant\tCPU us/request\tto off\tp50 us\tto off\tp99 us\trequests/s\tto off\tto nginx+mirror\terrors\t")
	for _, f := range r.Figures {
		fmt.Fprintf(w, "%s\t%.1f\t%.2f\t%.0f\t%.3f\t%.0f\t%.0f\t%.3f\t%.2f\t%d\t\n", f.Variant, f.CPUMicros, f.CPURatio, f.P50Micros, f.P50Ratio,
			f.P99Micros, f.PerSecond, f.PerSecRatio, f.ToNginxMirror, f.Errors)
	}
	_ = w.Flush()
	fmt.Println()
	w = tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "packets\tsent\tper second\tcaptured\tshare\tkernel drops\tunexplained\tCPU us/request\t")
	for _, f := range r.Packets {
		fmt.Fprintf(w, "%s\t%d\t%.0f\t%d\t%.5f\t%d\t%d\t%.1f\t\n", f.Variant, f.Sent, f.PerSecond, f.Captured, f.Share, f.KernelDrops, f.Unexplained, f.CPUMicros)
	}
	_ = w.Flush()
	for _, s := range r.Skipped {
		fmt.Println("skipped:", s)
	}
}

// samples holds one value per variant and round.
type samples map[string][]float64

func (s samples) add(name string, v float64) { s[name] = append(s[name], v) }

func (s samples) median(name string) float64 { return median(s[name]) }

// ratio is the median of the ratios within the rounds; 0 when there is nothing to compare.
func (s samples) ratio(name, base string) float64 {
	var out []float64
	for i, v := range s[name] {
		if b := s[base]; i < len(b) && b[i] > 0 {
			out = append(out, v/b[i])
		}
	}
	return median(out)
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

func findNginx() string {
	for _, name := range []string{"nginx", "/usr/sbin/nginx"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

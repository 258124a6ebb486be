package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc/status"

	"github.com/foreshadow/foreshadow/libs/forecast"
	"github.com/foreshadow/foreshadow/libs/forecast/evaluation"
	"github.com/foreshadow/foreshadow/libs/rpc"
	"github.com/foreshadow/foreshadow/libs/scaling/backtest"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/command/internal/past"
)

const standardInput = "standard input"

func (b backtesting) name() string {
	switch {
	case b.csv == "-":
		return standardInput
	case b.csv != "":
		return b.csv
	case b.history != "":
		return b.workload
	}
	return b.prometheus.Query
}

func (b backtesting) read(ctx context.Context) (forecast.Series, error) {
	switch {
	case b.csv == "-":
		return parseDemand(standardInput, b.in)
	case b.csv != "":
		return readDemand(b.csv)
	case b.history != "":
		edge, err := edgeOf(b.config)
		if err != nil {
			return forecast.Series{}, err
		}
		return readHistory(ctx, edge, b.history, past.Query{
			Workload: b.workload, From: b.prometheus.Start, To: b.prometheus.End, Step: b.prometheus.Step,
		})
	}
	return b.prometheus.Read(ctx)
}

func readDemand(path string) (forecast.Series, error) {
	f, err := os.Open(path)
	if err != nil {
		return forecast.Series{}, usageError{err}
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return forecast.Series{}, usageError{fmt.Errorf("%s: is a directory, want a file; --dir plays all in one", path)}
	}
	return parseDemand(path, f)
}

func parseDemand(name string, text io.Reader) (forecast.Series, error) {
	series, err := evaluation.ReadCSV(text)
	if err != nil {
		return forecast.Series{}, usageError{fmt.Errorf("%s: %w", name, err)}
	}
	return series, nil
}

// demands reads every .csv file of the directory.
func (b backtesting) demands() ([]backtest.Named, error) {
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		return nil, fmt.Errorf("--dir: %w", err)
	}
	var series []backtest.Named
	var faults []error
	for _, e := range entries {
		name, isCSV := strings.CutSuffix(e.Name(), ".csv")
		if !isCSV || e.IsDir() {
			continue
		}
		s, err := readDemand(filepath.Join(b.dir, e.Name()))
		faults = append(faults, err)
		series = append(series, backtest.Named{Name: name, Series: s})
	}
	if len(series) == 0 {
		return nil, fmt.Errorf("--dir %s: holds no .csv file", b.dir)
	}
	return series, errors.Join(faults...)
}

// readHistory asks the metrics-aggregator what it has seen.
func readHistory(ctx context.Context, edge *rpc.Edge, address string, q past.Query) (forecast.Series, error) {
	conn, err := edge.Dial(address)
	if err != nil {
		return forecast.Series{}, fmt.Errorf("dial history %s: %w", address, err)
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(ctx, historyTimeout)
	defer cancel()
	s, err := past.Read(ctx, foreshadowv1.NewHistoryServiceClient(conn), q)
	if err != nil {
		return forecast.Series{}, fmt.Errorf("ask %s: %w", address, plainly(err))
	}
	return s, nil
}

const historyTimeout = 2 * time.Minute

// plainly says of a failed call what its server, or the way to it, said.
func plainly(err error) error {
	st, ok := status.FromError(err)
	if !ok {
		return err
	}
	text := st.Message()
	if i := strings.LastIndex(text, "rpc error: "); i >= 0 {
		text = text[i:]
	}
	if _, dialed, ok := strings.Cut(text, "Error while dialing: "); ok {
		text = strings.TrimSuffix(dialed, `"`)
	} else if _, said, ok := strings.Cut(text, "desc = "); ok {
		text = said
	}
	return errors.New(text)
}

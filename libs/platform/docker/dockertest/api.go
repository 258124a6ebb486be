package dockertest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/common"
	"github.com/moby/moby/api/types/container"
)

// routes serves the Engine API under its version, as a client that has negotiated asks for it.
func (e *Engine) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/_ping", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Api-Version", Version)
		w.Header().Set("Ostype", "linux")
		_, _ = w.Write([]byte("OK"))
	})
	const containers = "/v" + Version + "/containers/"
	mux.HandleFunc("GET "+containers+"json", e.list)
	mux.HandleFunc("POST "+containers+"create", e.create)
	mux.HandleFunc("GET "+containers+"{id}/json", e.each(func(w http.ResponseWriter, _ *http.Request, c *Container) { answer(w, 200, c.Inspect()) }))
	mux.HandleFunc("GET "+containers+"{id}/stats", e.each(e.statistics))
	mux.HandleFunc("POST "+containers+"{id}/start", e.each(e.start))
	mux.HandleFunc("POST "+containers+"{id}/stop", e.each(e.stop))
	mux.HandleFunc("POST "+containers+"{id}/update", e.each(e.update))
	mux.HandleFunc("DELETE "+containers+"{id}", e.each(e.remove))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.mu.Lock()
		fault := e.fault
		if r.URL.Path != "/_ping" {
			e.requests = append(e.requests, r.Method+" "+strings.TrimPrefix(r.URL.Path, "/v"+Version))
		}
		e.mu.Unlock()
		if fault != nil {
			if status := fault(r); status != 0 {
				refuse(w, status, "injected")
				return
			}
		}
		mux.ServeHTTP(w, r)
	})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // an error means that the client has left
}

func refuse(w http.ResponseWriter, status int, format string, args ...any) {
	answer(w, status, common.ErrorResponse{Message: fmt.Sprintf(format, args...)})
}

// each finds the container that a path names.
func (e *Engine) each(handle func(http.ResponseWriter, *http.Request, *Container)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		e.mu.Lock()
		c := e.containers[r.PathValue("id")]
		e.mu.Unlock()
		if c == nil {
			refuse(w, http.StatusNotFound, "No such container: %s", r.PathValue("id"))
			return
		}
		handle(w, r, c)
	}
}

func (e *Engine) list(w http.ResponseWriter, r *http.Request) {
	var filters map[string]map[string]bool
	if text := r.URL.Query().Get("filters"); text != "" {
		if err := json.Unmarshal([]byte(text), &filters); err != nil {
			refuse(w, http.StatusBadRequest, "invalid filter: %v", err)
			return
		}
	}
	out := []container.Summary{}
	for _, c := range slices.Backward(e.All()) { // the youngest first
		body := c.Inspect()
		e.mu.Lock()
		wanted := c.has(filters["label"])
		e.mu.Unlock()
		if wanted && (r.URL.Query().Get("all") == "1" || body.State.Running) {
			out = append(out, container.Summary{
				ID: body.ID, Names: []string{body.Name}, Image: body.Config.Image, ImageID: body.Image, Labels: body.Config.Labels, State: body.State.Status,
				NetworkSettings: &container.NetworkSettingsSummary{Networks: body.NetworkSettings.Networks},
			})
		}
	}
	answer(w, http.StatusOK, out)
}

func (e *Engine) create(w http.ResponseWriter, r *http.Request) {
	var body container.CreateRequest
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.Config == nil || body.HostConfig == nil {
		refuse(w, http.StatusBadRequest, "invalid JSON: %v", err)
		return
	}
	name := r.URL.Query().Get("name")
	if c := e.Find(name); c != nil {
		refuse(w, http.StatusConflict, "Conflict. The container name %q is already in use by container %q.", "/"+name, c.body.ID)
		return
	}
	for _, bindings := range body.HostConfig.PortBindings {
		if len(bindings) > 0 {
			refuse(w, http.StatusInternalServerError, "driver failed programming external connectivity: Bind for 0.0.0.0:%s failed: port is already allocated", bindings[0].HostPort)
			return
		}
	}
	answer(w, http.StatusCreated, container.CreateResponse{ID: e.make(name, body), Warnings: []string{}})
}

func (e *Engine) start(w http.ResponseWriter, _ *http.Request, c *Container) {
	if err := e.startContainer(c.body.ID); err != nil {
		refuse(w, http.StatusInternalServerError, "%v", err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (e *Engine) stop(w http.ResponseWriter, r *http.Request, c *Container) {
	e.mu.Lock()
	running := c.body.State.Running
	c.stopped = append(c.stopped, r.URL.Query().Get("t"))
	e.mu.Unlock()
	if !running {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	e.kill(c.body.ID, 0)
	w.WriteHeader(http.StatusNoContent)
}

func (e *Engine) remove(w http.ResponseWriter, r *http.Request, c *Container) {
	if c.Inspect().State.Running && r.URL.Query().Get("force") != "1" {
		refuse(w, http.StatusConflict, "cannot remove container %q: container is running: stop the container before removing or force remove", c.body.Name)
		return
	}
	e.removeContainer(c.body.ID)
	w.WriteHeader(http.StatusNoContent)
}

// update changes limits with the refusals of the engine.
func (e *Engine) update(w http.ResponseWriter, r *http.Request, c *Container) {
	var u container.UpdateConfig
	if err := json.NewDecoder(r.Body).Decode(&u); err != nil {
		refuse(w, http.StatusBadRequest, "invalid JSON: %v", err)
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	have := &c.body.HostConfig.Resources
	switch {
	case u.NanoCPUs > 0 && have.CPUQuota > 0:
		refuse(w, http.StatusBadRequest, "Conflicting options: Nano CPUs cannot be updated as CPU Quota/Period has already been set")
		return
	case u.Memory > 0 && u.MemorySwap == 0 && have.MemorySwap > 0 && u.Memory > have.MemorySwap:
		refuse(w, http.StatusBadRequest, "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time")
		return
	}
	for _, v := range []struct{ to, from *int64 }{
		{&have.NanoCPUs, &u.NanoCPUs}, {&have.CPUQuota, &u.CPUQuota}, {&have.CPUPeriod, &u.CPUPeriod}, {&have.Memory, &u.Memory}, {&have.MemorySwap, &u.MemorySwap},
	} {
		if *v.from != 0 {
			*v.to = *v.from
		}
	}
	answer(w, http.StatusOK, container.UpdateResponse{Warnings: []string{}})
}

func (e *Engine) statistics(w http.ResponseWriter, r *http.Request, c *Container) {
	if q := r.URL.Query(); q.Get("stream") != "false" || q.Get("one-shot") != "true" {
		refuse(w, http.StatusBadRequest, "the stand-in only has one reading at a time")
		return
	}
	e.mu.Lock()
	s := c.stats
	s.ID, s.Name, s.Read = c.body.ID, c.body.Name, time.Now().UTC()
	if !c.body.State.Running {
		s = container.StatsResponse{ID: c.body.ID, Name: c.body.Name} // as the engine answers
	}
	e.mu.Unlock()
	answer(w, http.StatusOK, s)
}

package master

import (
	"fmt"
	"net/http"
	"runtime"
	"strings"

	"github.com/sloth-runner/sloth/connection/agent"
)

// Health answers /healthz (it runs), /readyz (it serves) and /metrics
// (Prometheus text).
func (m *Master) Health() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !m.ready.Load() {
			http.Error(w, "not serving", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		fmt.Fprint(w, m.metrics())
	})
	return mux
}

func (m *Master) metrics() string {
	count := map[string]int{agent.StatePending: 0, agent.StateActive: 0, agent.StateReconnecting: 0, agent.StateLost: 0, agent.StateRefused: 0}
	for _, a := range m.Agents() {
		count[a.State]++
	}
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	var b strings.Builder
	metric := func(name, kind, help string, value any) {
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n%s %v\n", name, help, name, kind, name, value)
	}
	fmt.Fprint(&b, "# HELP sloth_agents Agents by state.\n# TYPE sloth_agents gauge\n")
	for _, s := range []string{agent.StatePending, agent.StateActive, agent.StateReconnecting, agent.StateLost, agent.StateRefused} {
		fmt.Fprintf(&b, "sloth_agents{state=%q} %d\n", s, count[s])
	}
	metric("sloth_jobs_total", "counter", "Commands and transfers that were passed on.", m.jobsStarted.Load())
	metric("sloth_jobs", "gauge", "Commands and transfers under way.", m.opened.Load())
	metric("sloth_refusals_total", "counter", "Calls that were refused.", m.refusals.Load())
	metric("go_goroutines", "gauge", "Goroutines.", runtime.NumGoroutine())
	metric("go_memstats_sys_bytes", "gauge", "Memory obtained from the system.", mem.Sys)
	metric("go_memstats_heap_inuse_bytes", "gauge", "Heap in use.", mem.HeapInuse)
	if r := m.store.shared; r != nil {
		up := 0
		if r.up.Load() {
			up = 1
		}
		metric("sloth_shared_up", "gauge", "Whether what the masters share answers.", up)
		metric("sloth_masters", "gauge", "Masters that are there.", len(all(m.store, m.store.masters)))
	}
	metric("sloth_start_time_seconds", "gauge", "When the master was started, Unix time.", m.started.Unix())
	return b.String()
}

// Package http is the module http, and the ground of the module net: requests
// from wherever the task runs. Nothing here raises over the network: what went
// wrong is in the result.
package http

import (
	"strings"

	"github.com/sloth-runner/sloth/modules"
)

const (
	returns = "{success, status_code, body, headers, json, time_ms, error}"
	saved   = "{success, changed, status_code, path, size, sha256, time_ms, error}"
)

// Module describes the module http.
func Module() modules.Module {
	b := newBreakers()
	m := modules.Module{Name: "http", Summary: "HTTP requests; never raises, a network error is a result with status_code 0."}
	for _, method := range []string{"GET", "HEAD", "DELETE"} {
		m.Funcs = append(m.Funcs, plainFunc(b, "http", method))
	}
	for _, method := range []string{"POST", "PUT", "PATCH"} {
		m.Funcs = append(m.Funcs, modules.Func{
			Name: strings.ToLower(method), Summary: "Send a " + method + " request.",
			Example: `local r = http.` + strings.ToLower(method) + `("http://127.0.0.1:9/items", { json = { name = "a" } })`,
			Returns: returns,
			New:     func() any { return &bodied{Options: defaults(), method: method, breakers: b} },
		})
	}
	m.Funcs = append(m.Funcs, requestFunc(b, "http"), downloadFunc(b, "http"))
	return m
}

func plainFunc(b *breakers, module, method string) modules.Func {
	name := strings.ToLower(method)
	return modules.Func{
		Name: name, Summary: "Send a " + method + " request.",
		Example: `local r = ` + module + `.` + name + `("http://127.0.0.1:9/health", { timeout = "2s" })`,
		Returns: returns,
		New:     func() any { return &plain{Options: defaults(), method: method, breakers: b} },
	}
}

func requestFunc(b *breakers, module string) modules.Func {
	return modules.Func{
		Name: "request", Summary: "Send a request of any method.",
		Example: `local r = ` + module + `.request("http://127.0.0.1:9/", { method = "OPTIONS" })`,
		Returns: returns,
		New:     func() any { return &request{Options: defaults(), Method: "GET", breakers: b} },
	}
}

func downloadFunc(b *breakers, module string) modules.Func {
	return modules.Func{
		Name: "download", Summary: "Put what an address gives into a file, whole or not at all.",
		Example: `local r = ` + module + `.download("http://127.0.0.1:9/app.tar.gz", "/tmp/app.tar.gz")`,
		Returns: saved,
		New: func() any {
			d := &download{Options: defaults(), breakers: b}
			d.Timeout = 0 // large files take their time; standing still has its own limit
			return d
		},
	}
}

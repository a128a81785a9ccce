package http

import (
	"context"
	"strings"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/spec"
)

// Net describes the module net: http for people in a hurry, where the data of a
// request stands right behind the address.
func Net() modules.Module {
	b := newBreakers()
	m := modules.Module{Name: "net", Summary: "HTTP requests in short: data goes behind the address, a table as JSON."}
	for _, method := range []string{"GET", "HEAD"} {
		m.Funcs = append(m.Funcs, plainFunc(b, "net", method))
	}
	m.Funcs[0].Aliases = []string{"http_get"}
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE"} {
		name := strings.ToLower(method)
		f := modules.Func{
			Name: name, Summary: "Send data in a " + method + " request, a table as JSON.",
			Example: `local r = net.` + name + `("http://127.0.0.1:9/items", { name = "a" })`,
			Returns: returns,
			New:     func() any { return &direct{Options: defaults(), method: method, breakers: b} },
		}
		if method == "POST" {
			f.Aliases = []string{"http_post"}
		}
		m.Funcs = append(m.Funcs, f)
	}
	m.Funcs = append(m.Funcs, requestFunc(b, "net"), downloadFunc(b, "net"))
	return m
}

// direct is a request whose second argument is the data itself.
type direct struct {
	URL  modules.Text `lua:"url,required" pos:"1" doc:"Address"`
	Data any          `lua:"data" pos:"2" doc:"Text to send, or a table to send as JSON; a table of options alone is one when it names headers, json or another option beside body"`
	Body modules.Text `lua:"body" doc:"Text to send"`
	Options
	method   string
	breakers *breakers
}

// Validate tells options from data: both are tables at the same place.
func (d *direct) Validate() error {
	m, ok := d.Data.(map[string]any)
	if !ok || !onlyOptions(m) {
		return d.check()
	}
	args := map[string]any{"url": "http://x"}
	for k, v := range m {
		args[k] = v
	}
	made, err := spec.Parse(modules.Func{Name: d.method, New: func() any { return &bodied{Options: defaults()} }}, []any{args}, "")
	if err != nil {
		return err
	}
	d.Data, d.Body, d.Options = nil, made.(*bodied).Body, made.(*bodied).Options
	return nil
}

// onlyOptions reports whether every key is an option, and not just body: that
// alone is a common name in data.
func onlyOptions(m map[string]any) bool {
	telling := false
	for k := range m {
		if !optionNames[k] {
			return false
		}
		telling = telling || k != "body"
	}
	return telling
}

var optionNames = func() map[string]bool {
	names := map[string]bool{}
	for _, a := range spec.Of(modules.Func{Name: "net", New: func() any { return &bodied{} }}).Args {
		for _, n := range append([]string{a.Name}, a.Aliases...) {
			names[n] = true
		}
	}
	delete(names, "url")
	return names
}()

// PlanSafe is what the caller says.
func (d *direct) PlanSafe() bool { return d.CheckSafe }

// String is method and address.
func (d *direct) String() string { return show(d.method, d.URL) }

// Run sends the request.
func (d *direct) Run(ctx context.Context, c modules.Call) ([]any, error) {
	o, body := d.Options, d.Body
	switch data := d.Data.(type) {
	case nil:
	case string:
		body = modules.PlainText(data)
	case modules.Secret:
		body = modules.SecretText(data)
	default:
		o.JSON = data
	}
	return o.send(ctx, c, d.breakers, d.method, d.URL, body)
}

package http

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/data"
)

// Options are what every request understands.
type Options struct {
	Headers   map[string]any `lua:"headers" doc:"Headers; values are text, secrets, or lists of them"`
	Query     map[string]any `lua:"query" alias:"params" doc:"Parameters added to the address"`
	JSON      any            `lua:"json" doc:"Value to send as JSON"`
	Form      map[string]any `lua:"form" doc:"Fields to send as a web form does"`
	Timeout   time.Duration  `lua:"timeout" doc:"For one attempt, answer included"`
	Retries   int            `lua:"retries" doc:"Further attempts after network errors and the statuses 429, 502, 503 and 504; a request that is not repeatable is only repeated when it certainly did nothing"`
	Circuit   string         `lua:"circuit" doc:"Name of a circuit breaker: after 5 failures in a row its requests fail at once for 30 s, on all hosts of the stack; circuit.status and circuit.protect know it by that name"`
	Insecure  bool           `lua:"insecure" alias:"insecure_skip_verify" doc:"Does not check the server's certificate"`
	CA        string         `lua:"ca" doc:"Certificates to trust instead of the system's: a file on the host, or PEM text"`
	Username  string         `lua:"username" alias:"user" doc:"For basic authentication"`
	Password  modules.Secret `lua:"password" doc:"For basic authentication"`
	Token     modules.Secret `lua:"token" doc:"Sent as Authorization: Bearer"`
	Follow    bool           `lua:"follow" alias:"follow_redirects" doc:"Follows redirects, at most 10 and never from https to http"`
	MaxBody   int            `lua:"max_body" doc:"Largest answer taken into memory, in bytes; download has no such limit"`
	CheckSafe bool           `lua:"check_safe" doc:"The request changes nothing: it is sent under plan too"`
}

func defaults() Options {
	return Options{Timeout: 30 * time.Second, Follow: true, MaxBody: 16 << 20}
}

const maxRetries = 100

func (o *Options) check() error {
	switch {
	case o.Retries < 0 || o.Retries > maxRetries:
		return fmt.Errorf("retries = %d: it must be between 0 and %d", o.Retries, maxRetries)
	case o.MaxBody < 0 || o.MaxBody > 1<<30:
		return fmt.Errorf("max_body = %d: it must be between 0 and %d", o.MaxBody, 1<<30)
	case o.JSON != nil && o.Form != nil:
		return errors.New("give json or form, not both")
	case o.Username == "" && !o.Password.Empty():
		return errors.New("password is given without username")
	case o.Username != "" && !o.Token.Empty():
		return errors.New("give username or token, not both")
	}
	return nil
}

// plain is a request without a body of text.
type plain struct {
	URL modules.Text `lua:"url,required,primary" pos:"1" doc:"Address"`
	Options
	method   string
	breakers *breakers
}

// Validate checks the options against each other.
func (p *plain) Validate() error { return p.check() }

// PlanSafe reports whether the method is one that only reads.
func (p *plain) PlanSafe() bool { return p.CheckSafe || reads(p.method) }

// String is method and address.
func (p *plain) String() string { return show(p.method, p.URL) }

// Run sends the request.
func (p *plain) Run(ctx context.Context, c modules.Call) ([]any, error) {
	return p.send(ctx, c, p.breakers, p.method, p.URL, modules.Text{})
}

// bodied is a request that carries something.
type bodied struct {
	URL  modules.Text `lua:"url,required,primary" pos:"1" doc:"Address"`
	Body modules.Text `lua:"body" pos:"2" doc:"Text to send"`
	Options
	method   string
	breakers *breakers
}

// Validate checks the options against each other.
func (b *bodied) Validate() error {
	if b.Body.Given() && (b.JSON != nil || b.Form != nil) {
		return errors.New("give one of body, json and form")
	}
	return b.check()
}

// PlanSafe is what the caller says.
func (b *bodied) PlanSafe() bool { return b.CheckSafe }

// String is method and address.
func (b *bodied) String() string { return show(b.method, b.URL) }

// Run sends the request.
func (b *bodied) Run(ctx context.Context, c modules.Call) ([]any, error) {
	return b.send(ctx, c, b.breakers, b.method, b.URL, b.Body)
}

// request is a request of any method.
type request struct {
	URL    modules.Text `lua:"url,required,primary" pos:"1" doc:"Address"`
	Method string       `lua:"method" doc:"Such as PUT or OPTIONS"`
	Body   modules.Text `lua:"body" doc:"Text to send"`
	Options
	breakers *breakers
}

// Validate checks the options against each other.
func (r *request) Validate() error {
	r.Method = strings.ToUpper(r.Method)
	if r.Method == "" || strings.Trim(r.Method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-") != "" {
		return fmt.Errorf("method = %q: it is no HTTP method", r.Method)
	}
	if r.Body.Given() && (r.JSON != nil || r.Form != nil) {
		return errors.New("give one of body, json and form")
	}
	return r.check()
}

// PlanSafe reports whether the method is one that only reads.
func (r *request) PlanSafe() bool { return r.CheckSafe || reads(r.Method) }

// String is method and address.
func (r *request) String() string { return show(r.Method, r.URL) }

// Run sends the request.
func (r *request) Run(ctx context.Context, c modules.Call) ([]any, error) {
	return r.send(ctx, c, r.breakers, r.Method, r.URL, r.Body)
}

func reads(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// show names a request without what addresses hide: passwords and parameters.
func show(method string, address modules.Text) string {
	if address.IsSecret() {
		return method + " " + modules.Hidden
	}
	u, err := url.Parse(address.Reveal())
	if err != nil {
		return method
	}
	return method + " " + u.Scheme + "://" + u.Host + u.EscapedPath()
}

// message is a request ready to be sent, several times if need be.
type message struct {
	method string
	url    *url.URL
	header http.Header
	hidden []string // headers that hold secrets
	body   string
}

func (o *Options) message(method string, address, body modules.Text) (*message, error) {
	u, err := url.Parse(strings.TrimSpace(address.Reveal()))
	switch {
	case err != nil:
		return nil, errors.New("the address cannot be read: is a character in it not escaped?")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("the address must begin with http:// or https://, not %q", u.Scheme)
	case u.Host == "":
		return nil, errors.New("the address names no host")
	}
	m := &message{method: method, url: u, header: http.Header{}, body: body.Reveal()}
	if len(o.Query) > 0 {
		q := u.Query()
		if err := o.values("query", o.Query, q.Add); err != nil {
			return nil, err
		}
		u.RawQuery = q.Encode()
	}
	m.header.Set("User-Agent", "sloth")
	m.header.Set("Accept", "*/*")
	switch {
	case o.JSON != nil:
		if m.body, _, err = data.EncodeJSON(o.JSON); err != nil {
			return nil, fmt.Errorf("json: %w", err)
		}
		m.header.Set("Content-Type", "application/json")
		m.header.Set("Accept", "application/json, */*;q=0.8")
	case o.Form != nil:
		form := url.Values{}
		if err := o.values("form", o.Form, form.Add); err != nil {
			return nil, err
		}
		m.body = form.Encode()
		m.header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if u.User != nil {
		password, _ := u.User.Password()
		m.basic(u.User.Username(), password)
		u.User = nil
	}
	if o.Username != "" {
		m.basic(o.Username, o.Password.Reveal())
	}
	if !o.Token.Empty() {
		m.hide("Authorization", "Bearer "+o.Token.Reveal())
	}
	return m, o.setHeaders(m)
}

func (m *message) basic(username, password string) {
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(username, password)
	m.hide("Authorization", r.Header.Get("Authorization"))
}

func (m *message) hide(name, value string) {
	m.header.Set(name, value)
	m.hidden = append(m.hidden, name)
}

func (o *Options) setHeaders(m *message) error {
	for name, v := range o.Headers {
		if !token(name) {
			return fmt.Errorf("headers: %q cannot be the name of a header", name)
		}
		m.header.Del(name)
		list, ok := v.([]any)
		if !ok {
			list = []any{v}
		}
		for _, item := range list {
			text, secret, err := scalar(item)
			if err != nil {
				return fmt.Errorf("headers: %s %w", name, err)
			}
			if strings.ContainsAny(text, "\r\n\x00") {
				return fmt.Errorf("headers: %s holds the end of a line, which no header can", name)
			}
			if secret {
				m.hidden = append(m.hidden, name)
			}
			m.header.Add(name, text)
		}
	}
	return nil
}

func (o *Options) values(what string, from map[string]any, add func(string, string)) error {
	names := make([]string, 0, len(from))
	for k := range from {
		names = append(names, k)
	}
	slices.Sort(names)
	for _, k := range names {
		list, ok := from[k].([]any)
		if !ok {
			list = []any{from[k]}
		}
		for _, item := range list {
			text, _, err := scalar(item)
			if err != nil {
				return fmt.Errorf("%s: %s %w", what, k, err)
			}
			add(k, text)
		}
	}
	return nil
}

// scalar is the text of one value, and whether it is secret.
func scalar(v any) (text string, secret bool, err error) {
	switch v := v.(type) {
	case string:
		return v, false, nil
	case modules.Secret:
		return v.Reveal(), true, nil
	case bool, int64, float64:
		return fmt.Sprint(v), false, nil
	}
	return "", false, errors.New("must be text")
}

// token reports whether s may be the name of a header.
func token(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return c <= ' ' || c >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?={}`, c)
	})
}

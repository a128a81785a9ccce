package http

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/data"
	"github.com/sloth-runner/sloth/modules/spec"
)

const (
	maxRedirects = 10
	maxHeader    = 1 << 20
	firstPause   = 200 * time.Millisecond
	maxPause     = 30 * time.Second
)

// result starts the table a request gives.
func result(m map[string]any, start time.Time) []any {
	m["time_ms"] = int(time.Since(start).Milliseconds())
	if _, ok := m["success"]; !ok {
		m["success"] = m["error"] == nil
	}
	return []any{m}
}

func failed(err error, start time.Time) []any {
	return result(map[string]any{"status_code": 0, "body": "", "headers": map[string]any{}, "error": err.Error()}, start)
}

// send performs a request with its retries. An error is returned only when the
// whole task ends.
func (o *Options) send(ctx context.Context, c modules.Call, b *breakers, method string, address, body modules.Text) ([]any, error) {
	start := time.Now()
	m, err := o.message(method, address, body)
	if err != nil {
		return failed(err, start), nil
	}
	client, done, err := o.client(c, m)
	if err != nil {
		return failed(err, start), nil
	}
	defer done()
	var out map[string]any
	_, err = o.attempts(ctx, b, client, m, func(resp *http.Response) error {
		text, err := readBody(resp, o.MaxBody)
		if err != nil {
			return err
		}
		out = answer(resp, text)
		return nil
	})
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case out != nil:
		return result(out, start), nil
	}
	return failed(err, start), nil
}

// attempts sends m until it gets an answer worth keeping, and hands that to
// take. A failing take is a network error too.
func (o *Options) attempts(ctx context.Context, b *breakers, client *http.Client, m *message, take func(*http.Response) error) (int, error) {
	for n := 0; ; n++ {
		leave, err := b.enter(ctx, o.Circuit)
		if err != nil {
			return 0, err
		}
		status, pause, again, err := o.attempt(ctx, client, m, take)
		leave(err == nil && status < 500)
		if !again || n == o.Retries || ctx.Err() != nil {
			return status, err
		}
		if pause == 0 {
			pause = min(firstPause<<min(n, 10), maxPause)
			pause = pause/2 + rand.N(pause/2+1)
		}
		timer := time.NewTimer(min(pause, maxPause))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return status, context.Cause(ctx)
		}
	}
}

// attempt sends m once. again says that another try may help and does no harm.
func (o *Options) attempt(ctx context.Context, client *http.Client, m *message, take func(*http.Response) error) (status int, pause time.Duration, again bool, err error) {
	if o.Timeout > 0 {
		limited, cancel := context.WithTimeoutCause(ctx, o.Timeout, fmt.Errorf("no answer within %s", o.Timeout))
		defer cancel()
		ctx = limited
	}
	req, err := http.NewRequestWithContext(ctx, m.method, m.url.String(), strings.NewReader(m.body))
	if err != nil {
		return 0, 0, false, bare(err)
	}
	if m.body == "" {
		req.Body, req.GetBody, req.ContentLength = http.NoBody, nil, 0
	}
	req.Header = m.header.Clone()
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	repeatable := reads(m.method) || m.method == http.MethodPut || m.method == http.MethodDelete
	resp, err := client.Do(req)
	if err != nil {
		return 0, 0, repeatable && !hopeless(err) || dialing(err), explain(ctx, err)
	}
	defer resp.Body.Close()
	status = resp.StatusCode
	if err := take(resp); err != nil {
		var local errLocal
		return status, 0, repeatable && !errors.Is(err, errTooLarge) && !errors.As(err, &local), explain(ctx, err)
	}
	switch status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		again = true
		if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
			pause = time.Duration(min(s, int(maxPause/time.Second))) * time.Second
		}
	case http.StatusBadGateway, http.StatusGatewayTimeout:
		again = repeatable
	}
	return status, pause, again, nil
}

// dialing reports whether the server never saw the request.
func dialing(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// hopeless reports whether trying again cannot help.
func hopeless(err error) bool {
	var name *net.DNSError
	var cert *tls.CertificateVerificationError
	var redirect errRedirect
	return errors.As(err, &name) && name.IsNotFound || errors.As(err, &cert) || errors.As(err, &redirect)
}

// bare takes off what net/http puts before an error: method and address, which
// may hold secrets.
func bare(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// explain gives the reason of a deadline instead of the deadline.
func explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var cert *tls.CertificateVerificationError
	if errors.As(err, &cert) {
		return fmt.Errorf("the server's certificate is not trusted: %w; name its authority with ca = \"…\"", cert.Err)
	}
	return bare(err)
}

type errRedirect string

func (e errRedirect) Error() string { return string(e) }

// client makes a client for one call; done lets its connections go.
func (o *Options) client(c modules.Call, m *message) (client *http.Client, done func(), err error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: o.Insecure}
	if o.CA != "" {
		if conf.RootCAs, err = o.roots(c); err != nil {
			return nil, nil, err
		}
	}
	t := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:        conf,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxResponseHeaderBytes: maxHeader,
		ForceAttemptHTTP2:      true,
		ExpectContinueTimeout:  time.Second,
	}
	client = &http.Client{Transport: t, CheckRedirect: func(req *http.Request, via []*http.Request) error {
		switch {
		case !o.Follow:
			return http.ErrUseLastResponse
		case len(via) >= maxRedirects:
			return errRedirect(fmt.Sprintf("more than %d redirects", maxRedirects))
		case req.URL.Scheme != "https" && via[len(via)-1].URL.Scheme == "https":
			return errRedirect("the server redirects from https to " + req.URL.Scheme)
		case req.URL.Host != m.url.Host:
			for _, name := range m.hidden {
				req.Header.Del(name)
			}
		}
		return nil
	}}
	return client, t.CloseIdleConnections, nil
}

func (o *Options) roots(c modules.Call) (*x509.CertPool, error) {
	pem := []byte(o.CA)
	if !strings.Contains(o.CA, "-----BEGIN") {
		name, err := spec.HostPath(o.CA, c.Workdir)
		if err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
		f, err := c.Machine.Open(name)
		if err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
		defer f.Close()
		if pem, err = io.ReadAll(io.LimitReader(f, 8<<20)); err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("ca: there is no certificate in it")
	}
	return pool, nil
}

var errTooLarge = errors.New("the answer is too large")

func readBody(resp *http.Response, limit int) (string, error) {
	b, err := io.ReadAll(io.LimitReader(resp.Body, int64(limit)+1))
	if err != nil {
		return "", err
	}
	if len(b) > limit {
		return "", fmt.Errorf("%w: more than %d bytes; raise max_body or use download", errTooLarge, limit)
	}
	return string(b), nil
}

// answer is the result of an answered request.
func answer(resp *http.Response, body string) map[string]any {
	out := map[string]any{"status_code": resp.StatusCode, "body": body, "headers": headers(resp.Header)}
	if v, ok := asJSON(resp.Header.Get("Content-Type"), body); ok {
		out["json"] = v
	}
	if resp.StatusCode >= 400 {
		out["error"] = statusText(resp.StatusCode)
	}
	return out
}

func statusText(code int) string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", code, http.StatusText(code)))
}

func headers(h http.Header) map[string]any {
	out := map[string]any{}
	for k, v := range h {
		out[k] = strings.Join(v, ", ")
	}
	return out
}

// asJSON reads a body that says it is JSON, or looks like it.
func asJSON(kind, body string) (any, bool) {
	start := strings.TrimLeft(body, " \t\r\n")
	if start == "" || !strings.Contains(kind, "json") && start[0] != '{' && start[0] != '[' {
		return nil, false
	}
	v, err := data.DecodeJSON(body)
	return v, err == nil
}

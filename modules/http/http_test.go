package http

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/circuit"
	"github.com/sloth-runner/sloth/modules/machine"
	"github.com/sloth-runner/sloth/modules/spec"
)

type m = map[string]any

func surround(t *testing.T) modules.Call {
	return modules.Call{Machine: machine.New(), Workdir: t.TempDir()}
}

func filled(t *testing.T, mod modules.Module, function string, args ...any) modules.Tool {
	t.Helper()
	for _, f := range mod.Funcs {
		for _, name := range append([]string{f.Name}, f.Aliases...) {
			if name == function {
				tool, err := spec.Parse(f, args, "/")
				if err != nil {
					t.Fatal(err)
				}
				return tool.(modules.Tool)
			}
		}
	}
	t.Fatalf("there is no %s.%s", mod.Name, function)
	return nil
}

func call(t *testing.T, mod modules.Module, function string, args ...any) m {
	t.Helper()
	out, err := filled(t, mod, function, args...).Run(context.Background(), surround(t))
	if err != nil {
		t.Fatalf("%s raised: %v", function, err)
	}
	r := out[0].(m)
	if ms, ok := r["time_ms"].(int); !ok || ms < 0 {
		t.Errorf("time_ms is %v", r["time_ms"])
	}
	return r
}

// echo answers with what it was asked, as text.
func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.Header().Add("X-Two", "a")
	w.Header().Add("X-Two", "b")
	fmt.Fprintf(w, "%s %s|%s|%s|%s|%s", r.Method, r.URL.RequestURI(), r.Header.Get("Content-Type"), r.Header.Get("X-Mine"), r.Header.Get("Authorization"), body)
}

func TestRequests(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(echo))
	defer s.Close()
	url := s.URL + "/p"
	h, n := Module(), Net()
	for _, c := range []struct {
		mod      modules.Module
		function string
		args     []any
		want     string
	}{
		{h, "get", []any{url}, "GET /p||||"},
		{h, "get", []any{url, m{"query": m{"b": []any{"x y", "z"}, "a": int64(1)}, "headers": m{"X-Mine": "h"}}}, "GET /p?a=1&b=x+y&b=z||h||"},
		{h, "get", []any{m{"url": url + "?k=v", "params": m{"a": "b"}}}, "GET /p?a=b&k=v||||"},
		{h, "delete", []any{url}, "DELETE /p||||"},
		{h, "post", []any{url, m{"json": m{"a": []any{int64(1), "x"}}}}, `POST /p|application/json|||{"a":[1,"x"]}`},
		{h, "post", []any{url, "raw"}, "POST /p||||raw"},
		{h, "post", []any{url, m{"body": "raw", "headers": m{"Content-Type": "text/x"}}}, "POST /p|text/x|||raw"},
		{h, "put", []any{url, m{"form": m{"a": "1&2", "b": true}}}, "PUT /p|application/x-www-form-urlencoded|||a=1%262&b=true"},
		{h, "patch", []any{url, m{"json": []any{}}}, "PATCH /p|application/json|||[]"},
		{h, "request", []any{url, m{"method": "propfind", "body": "x"}}, "PROPFIND /p||||x"},
		{h, "get", []any{url, m{"username": "u", "password": modules.NewSecret("p")}}, "GET /p|||Basic dTpw|"},
		{h, "get", []any{url, m{"token": modules.NewSecret("t0k")}}, "GET /p|||Bearer t0k|"},
		{h, "get", []any{strings.Replace(url, "http://", "http://u:p@", 1)}, "GET /p|||Basic dTpw|"},
		{h, "get", []any{url, m{"headers": m{"X-Mine": modules.NewSecret("s")}}}, "GET /p||s||"},
		{h, "get", []any{modules.NewSecret(url)}, "GET /p||||"},

		{n, "get", []any{url}, "GET /p||||"},
		{n, "http_get", []any{url}, "GET /p||||"},
		{n, "post", []any{url, m{"name": "a"}}, `POST /p|application/json|||{"name":"a"}`},
		{n, "post", []any{url, m{"body": "a comment"}}, `POST /p|application/json|||{"body":"a comment"}`},
		{n, "post", []any{url, []any{int64(1)}}, `POST /p|application/json|||[1]`},
		{n, "post", []any{url, m{"body": "raw", "headers": m{"X-Mine": "h"}}}, "POST /p||h||raw"},
		{n, "post", []any{url, m{"json": m{"a": int64(1)}}}, `POST /p|application/json|||{"a":1}`},
		{n, "http_post", []any{url, "text"}, "POST /p||||text"},
		{n, "put", []any{url, m{"a": int64(1)}, m{"headers": m{"X-Mine": "h"}}}, `PUT /p|application/json|h||{"a":1}`},
		{n, "delete", []any{url}, "DELETE /p||||"},
	} {
		r := call(t, c.mod, c.function, c.args...)
		if r["body"] != c.want || r["status_code"] != 200 || r["success"] != true || r["error"] != nil {
			t.Errorf("%s.%s(%v):\ngot  %v %q %v\nwant %q", c.mod.Name, c.function, c.args[1:], r["status_code"], r["body"], r["error"], c.want)
		}
		if r["headers"].(m)["X-Two"] != "a, b" {
			t.Errorf("headers are %v", r["headers"])
		}
	}
}

func TestAnswers(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		io.WriteString(w, `{"list": [1, 2], "none": []}`)
	})
	mux.HandleFunc("/looks", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, ` [1]`) })
	mux.HandleFunc("/broken", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"list": `)
	})
	mux.HandleFunc("/gone", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusGone) })
	mux.HandleFunc("/big", func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 1000)) })
	mux.HandleFunc("/bomb", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		z.Write(make([]byte, 4<<20))
		z.Close()
	})
	mux.HandleFunc("/cut", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "short")
	})
	mux.Handle("/loop", http.RedirectHandler("/loop", http.StatusFound))
	mux.Handle("/moved", http.RedirectHandler("/looks", http.StatusMovedPermanently))
	s := httptest.NewServer(mux)
	defer s.Close()
	closed := httptest.NewServer(nil)
	closed.Close()
	for _, c := range []struct {
		url  string
		args m
		want m
	}{
		{s.URL + "/json", nil, m{"success": true, "json": m{"list": []any{int64(1), int64(2)}, "none": []any{}}}},
		{s.URL + "/looks", nil, m{"json": []any{int64(1)}}},
		{s.URL + "/broken", nil, m{"success": true, "json": nil, "body": `{"list": `}},
		{s.URL + "/gone", nil, m{"success": false, "status_code": 410, "error": "410 Gone", "body": "no\n"}},
		{s.URL + "/big", m{"max_body": int64(999)}, m{"success": false, "status_code": 0, "body": "", "error": "the answer is too large: more than 999 bytes; raise max_body or use download"}},
		{s.URL + "/bomb", m{"max_body": int64(1 << 20)}, m{"success": false, "error": "the answer is too large: more than 1048576 bytes; raise max_body or use download"}},
		{s.URL + "/cut", nil, m{"success": false, "status_code": 0, "error": "unexpected EOF"}},
		{s.URL + "/loop", nil, m{"success": false, "status_code": 0, "error": "more than 10 redirects"}},
		{s.URL + "/moved", nil, m{"success": true, "status_code": 200, "body": " [1]"}},
		{s.URL + "/moved", m{"follow": false}, m{"success": true, "status_code": 301}},
		{closed.URL, nil, m{"success": false, "status_code": 0, "error": "dial tcp " + strings.TrimPrefix(closed.URL, "http://") + ": connect: connection refused"}},
		{"ftp://x/y", nil, m{"success": false, "error": `the address must begin with http:// or https://, not "ftp"`}},
		{"nonsense", nil, m{"success": false, "error": `the address must begin with http:// or https://, not ""`}},
		{"http:///x", nil, m{"success": false, "error": "the address names no host"}},
		{"http://a b/", nil, m{"success": false, "error": "the address cannot be read: is a character in it not escaped?"}},
		{s.URL, m{"headers": m{"A B": "x"}}, m{"success": false, "error": `headers: "A B" cannot be the name of a header`}},
		{s.URL, m{"headers": m{"X": "a\r\nInjected: b"}}, m{"success": false, "error": "headers: X holds the end of a line, which no header can"}},
		{s.URL, m{"headers": m{"X": m{}}}, m{"success": false, "error": "headers: X must be text"}},
		{s.URL, m{"ca": "/no/such/file"}, m{"success": false, "error": "ca: open /no/such/file: no such file or directory"}},
		{s.URL, m{"ca": "-----BEGIN nothing"}, m{"success": false, "error": "ca: there is no certificate in it"}},
	} {
		r := call(t, Module(), "get", c.url, c.args)
		for k, want := range c.want {
			if !reflect.DeepEqual(r[k], want) {
				t.Errorf("%s %v: %s is %#v, want %#v", c.url, c.args, k, r[k], want)
			}
		}
	}
	if r := call(t, Module(), "head", s.URL+"/json"); r["status_code"] != 200 || r["body"] != "" {
		t.Errorf("head gives %v", r)
	}
}

func TestTimeoutAndCancel(t *testing.T) {
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer s.Close()
	defer close(release)
	r := call(t, Module(), "get", s.URL, m{"timeout": 0.05})
	if r["success"] != false || r["status_code"] != 0 || r["error"] != "no answer within 50ms" {
		t.Errorf("got %v", r)
	}
	why := errors.New("the task is over")
	ctx, cancel := context.WithTimeoutCause(context.Background(), 50*time.Millisecond, why)
	defer cancel()
	if _, err := filled(t, Module(), "get", s.URL).Run(ctx, surround(t)); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
}

func TestRetries(t *testing.T) {
	var hits atomic.Int32
	codes := []int{503, 429, 200}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := int(hits.Add(1)) - 1
		body, _ := io.ReadAll(r.Body)
		w.WriteHeader(codes[min(n, len(codes)-1)])
		w.Write(body)
	}))
	defer s.Close()
	if r := call(t, Module(), "post", s.URL, m{"body": "again", "retries": int64(3)}); r["status_code"] != 200 || r["body"] != "again" || hits.Load() != 3 {
		t.Errorf("%d hits, got %v", hits.Load(), r)
	}
	hits.Store(0)
	codes = []int{502, 200}
	if r := call(t, Module(), "post", s.URL, m{"body": "x", "retries": int64(3)}); r["status_code"] != 502 || hits.Load() != 1 {
		t.Errorf("a post that may have worked was repeated: %d hits, %v", hits.Load(), r)
	}
	hits.Store(0)
	if r := call(t, Module(), "put", s.URL, m{"body": "x", "retries": int64(3)}); r["status_code"] != 200 || hits.Load() != 2 {
		t.Errorf("%d hits, got %v", hits.Load(), r)
	}
	hits.Store(0)
	codes = []int{503}
	if r := call(t, Module(), "get", s.URL, m{"retries": int64(1)}); r["status_code"] != 503 || r["success"] != false || hits.Load() != 2 {
		t.Errorf("%d hits, got %v", hits.Load(), r)
	}
}

func TestRetryAfterConnectionRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	started := make(chan *http.Server, 1)
	time.AfterFunc(100*time.Millisecond, func() {
		s := &http.Server{Handler: http.HandlerFunc(echo), ReadHeaderTimeout: time.Second}
		l, err := net.Listen("tcp", addr)
		if err == nil {
			go s.Serve(l)
		}
		started <- s
	})
	r := call(t, Module(), "post", "http://"+addr+"/", m{"body": "x", "retries": int64(20)})
	s := <-started
	defer s.Close()
	if r["success"] != true {
		t.Errorf("got %v", r)
	}
}

func TestCircuit(t *testing.T) {
	var hits atomic.Int32
	var code atomic.Int32
	code.Store(500)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		hits.Add(1)
		w.WriteHeader(int(code.Load()))
	}))
	defer s.Close()
	now := time.Now()
	rule := circuit.DefaultRule()
	b := &breakers{circuit.NewBook(func() time.Time { return now })}
	mod := modules.Module{Name: "http", Funcs: []modules.Func{plainFunc(b, "http", "GET")}}
	get := func() m { return call(t, mod, "get", s.URL, m{"circuit": "api"}) }
	for range rule.Failures {
		if r := get(); r["status_code"] != 500 {
			t.Fatalf("got %v", r)
		}
	}
	if r := get(); r["status_code"] != 0 || r["error"] != `circuit "api" is open after 5 failures in a row; it tries again in 30s` || int(hits.Load()) != rule.Failures {
		t.Errorf("%d hits, got %v", hits.Load(), r)
	}
	if r := call(t, mod, "get", s.URL, m{"circuit": "other"}); r["status_code"] != 500 {
		t.Errorf("another circuit is open too: %v", r)
	}
	now = now.Add(rule.Timeout)
	code.Store(200)
	for range 3 {
		if r := get(); r["status_code"] != 200 {
			t.Errorf("got %v", r)
		}
	}
}

func TestTLS(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(echo))
	defer s.Close()
	s.Config.ErrorLog = nil
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	r := call(t, Module(), "get", s.URL)
	if text, _ := r["error"].(string); r["success"] != false || !strings.HasPrefix(text, "the server's certificate is not trusted: ") {
		t.Errorf("got %v", r)
	}
	for _, args := range []m{{"ca": string(ca)}, {"ca": file}, {"insecure": true}} {
		if r := call(t, Module(), "get", s.URL+"/p", args); r["body"] != "GET /p||||" {
			t.Errorf("%v: got %v", args, r["error"])
		}
	}
	down := httptest.NewTLSServer(http.RedirectHandler("http://127.0.0.1:9/", http.StatusFound))
	defer down.Close()
	if r := call(t, Module(), "get", down.URL, m{"insecure": true}); r["error"] != "the server redirects from https to http" {
		t.Errorf("got %v", r)
	}
}

func TestSecretsDoNotFollowToOtherHosts(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s|%s|%s", r.Header.Get("Authorization"), r.Header.Get("X-Key"), r.Header.Get("X-Open"))
	}))
	defer other.Close()
	s := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusFound))
	defer s.Close()
	r := call(t, Module(), "get", s.URL, m{"token": modules.NewSecret("t"), "headers": m{"X-Key": modules.NewSecret("k"), "X-Open": "o"}})
	if r["body"] != "||o" {
		t.Errorf("the other host got %v", r["body"])
	}
}

func TestPlan(t *testing.T) {
	for _, c := range []struct {
		function string
		args     []any
		safe     bool
		says     string
	}{
		{"get", []any{"https://u:p@h/x?token=1"}, true, "GET https://h/x"},
		{"head", []any{"http://h"}, true, "HEAD http://h"},
		{"post", []any{"http://h"}, false, "POST http://h"},
		{"post", []any{"http://h", m{"check_safe": true}}, true, "POST http://h"},
		{"delete", []any{modules.NewSecret("http://h")}, false, "DELETE (secret)"},
		{"request", []any{"http://h", m{"method": "options"}}, true, "OPTIONS http://h"},
		{"request", []any{"http://h", m{"method": "PURGE"}}, false, "PURGE http://h"},
		{"download", []any{"http://h/f?x=y", "/tmp/f"}, false, "http://h/f -> /tmp/f"},
	} {
		tool := filled(t, Module(), c.function, c.args...)
		if tool.PlanSafe() != c.safe || fmt.Sprint(tool) != c.says {
			t.Errorf("%s%v: %v, %q", c.function, c.args, tool.PlanSafe(), fmt.Sprint(tool))
		}
	}
}

func TestWrongArguments(t *testing.T) {
	for _, c := range []struct {
		f    modules.Func
		args []any
		want string
	}{
		{Module().Funcs[0], []any{"http://h", m{"retries": int64(-1)}}, "retries = -1: it must be between 0 and 100"},
		{Module().Funcs[0], []any{"http://h", m{"username": "u", "token": "t"}}, "give username or token, not both"},
		{Module().Funcs[0], []any{"http://h", m{"haeders": m{}}}, `unknown argument "haeders"; did you mean "headers"?`},
		{Module().Funcs[3], []any{"http://h", m{"body": "x", "json": m{}}}, "give one of body, json and form"},
		{requestFunc(nil, "http"), []any{"http://h", m{"method": "GET /"}}, `method = "GET /": it is no HTTP method`},
		{downloadFunc(nil, "http"), []any{"http://h", "/x", m{"sha256": "abc"}}, `sha256 = "abc": it must be 64 hexadecimal digits`},
		{Net().Funcs[2], []any{"http://h", m{"json": m{}, "form": m{}}}, "give json or form, not both"},
	} {
		if _, err := spec.Parse(c.f, c.args, ""); err == nil || err.Error() != c.want {
			t.Errorf("%s%v: got %v, want %s", c.f.Name, c.args, err, c.want)
		}
	}
}

const helloSum = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824" // of "hello"

func TestDownload(t *testing.T) {
	var hits atomic.Int32
	body := []byte("hello")
	when := time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)
	mux := http.NewServeMux()
	mux.HandleFunc("/files/hello.txt", func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		http.ServeContent(w, r, "hello.txt", when, bytes.NewReader(body))
	})
	s := httptest.NewServer(mux)
	defer s.Close()
	dir := t.TempDir()
	file := filepath.Join(dir, "hello.txt")
	get := func(args ...any) m { return call(t, Module(), "download", args...) }
	expect := func(what string, r m, want m) {
		t.Helper()
		for k, v := range want {
			if !reflect.DeepEqual(r[k], v) {
				t.Errorf("%s: %s is %#v, want %#v (%v)", what, k, r[k], v, r["error"])
			}
		}
	}
	content := func(want string) {
		t.Helper()
		got, err := os.ReadFile(file)
		if err != nil || string(got) != want {
			t.Errorf("the file holds %q, %v, want %q", got, err, want)
		}
	}
	expect("first", get(s.URL+"/files/hello.txt", dir+"/", m{"mode": "0600"}), m{"success": true, "changed": true, "status_code": 200, "path": file, "size": 5, "sha256": helloSum})
	content("hello")
	st, err := os.Stat(file)
	if err != nil || st.Mode().Perm() != 0o600 || !st.ModTime().Equal(when) {
		t.Errorf("the file is %v, %v, %v", st.Mode(), st.ModTime(), err)
	}
	expect("not modified", get(s.URL+"/files/hello.txt", dir), m{"success": true, "changed": false, "status_code": 304, "sha256": helloSum, "size": 5})
	hits.Store(0)
	expect("known sum", get(s.URL+"/files/hello.txt", file, m{"sha256": "sha256:" + strings.ToUpper(helloSum)}), m{"success": true, "changed": false})
	if hits.Load() != 0 {
		t.Error("the server was asked for a file that was there")
	}
	body, when = []byte("newer"), when.Add(time.Hour)
	expect("newer", get(s.URL+"/files/hello.txt", file), m{"success": true, "changed": true, "status_code": 200})
	content("newer")
}

func TestDownloadKeepsWhatItHas(t *testing.T) {
	var hits atomic.Int32
	body := "hello"
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		switch r.URL.Path {
		case "/cut":
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "hel")
		case "/missing":
			http.NotFound(w, r)
		default:
			io.WriteString(w, body)
		}
	}))
	defer s.Close()
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte("hello"), 0o640); err != nil {
		t.Fatal(err)
	}
	wrong := strings.Repeat("0", 64)
	for _, c := range []struct {
		what string
		url  string
		args m
		hits int32
		want m
	}{
		{"known sum", "/", m{"sha256": helloSum}, 0, m{"success": true, "changed": false}},
		{"known sum, other mode", "/", m{"sha256": helloSum, "mode": "0600"}, 0, m{"success": true, "changed": true}},
		{"same content", "/", nil, 1, m{"success": true, "changed": false, "status_code": 200}},
		{"wrong sum", "/", m{"sha256": wrong, "retries": int64(2)}, 1, m{"success": false, "changed": false}},
		{"cut", "/cut", m{"retries": int64(1)}, 2, m{"success": false, "changed": false}},
		{"missing", "/missing", nil, 1, m{"success": false, "changed": false, "status_code": 404, "error": "404 Not Found"}},
		{"no server", "", m{}, 0, m{"success": false, "changed": false, "status_code": 0}},
	} {
		hits.Store(0)
		url := s.URL + c.url
		if c.url == "" {
			url = "http://127.0.0.1:1/"
		}
		r := call(t, Module(), "download", url, file, c.args)
		for k, v := range c.want {
			if !reflect.DeepEqual(r[k], v) {
				t.Errorf("%s: %s is %#v, want %#v (%v)", c.what, k, r[k], v, r["error"])
			}
		}
		if hits.Load() != c.hits {
			t.Errorf("%s: %d hits", c.what, hits.Load())
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != "hello" {
			t.Errorf("%s: the file holds %q, %v", c.what, got, err)
		}
	}
	if r := call(t, Module(), "download", s.URL, file, m{"sha256": wrong}); !strings.Contains(fmt.Sprint(r["error"]), "wrong sha256 and is thrown away: it is "+helloSum+", not "+wrong) {
		t.Errorf("got %v", r["error"])
	}
	body = "other"
	if r := call(t, Module(), "download", s.URL, file); r["changed"] != true {
		t.Errorf("got %v", r)
	}
	left, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if r := call(t, Module(), "download", s.URL, filepath.Dir(file)+"/"); r["error"] != "the address names no file; say the whole path instead of the folder "+filepath.Dir(file)+"/" {
		t.Errorf("got %v", r)
	}
}

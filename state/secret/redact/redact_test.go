package redact

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const mark = "(secret)"

// awkward has what each way of writing escapes.
const awkward = `Tr0ub4dor&3 "x" 'y' $z\/<ü>`

func newWith(t testing.TB, secrets ...string) *Redactor {
	t.Helper()
	r := New(mark)
	for _, s := range secrets {
		if err := r.Add("s", s); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func quoted(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

// printed are texts in which programs show a secret.
func printed(s string) map[string]string {
	wrapped := func(text string, width int) string {
		var b strings.Builder
		for i := 0; i < len(text); i += width {
			b.WriteString(text[i:min(i+width, len(text))] + "\n")
		}
		return b.String()
	}
	out := map[string]string{
		"plain": s, "json": quoted(map[string]string{"k": s}), "json twice": quoted(quoted(s)), "go": strconv.Quote(s), "ascii": strconv.QuoteToASCII(s),
		"query": "https://h/?p=" + url.QueryEscape(s), "path": "https://h/" + url.PathEscape(s) + "/x", "lower": strings.ToLower(url.QueryEscape("é")) + lowerPercent(url.QueryEscape(s)),
		"hex": hex.EncodeToString([]byte(s)), "HEX": strings.ToUpper(hex.EncodeToString([]byte(s))), "colons": strings.TrimSuffix(wrapped(hex.EncodeToString([]byte(s)), 2), "\n"),
		"sh": "'" + strings.ReplaceAll(s, "'", `'\''`) + "'", "sh other": "'" + strings.ReplaceAll(s, "'", `'"'"'`) + "'",
		"%q": fmt.Sprintf("%q", s), "xml": strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "'", "&#39;").Replace(s),
		"basic": "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("admin:"+s)),
	}
	for _, before := range []string{"", "x", "xy", "xyz"} {
		for name, enc := range map[string]*base64.Encoding{"std": base64.StdEncoding, "url": base64.URLEncoding} {
			text := enc.EncodeToString([]byte(before + s + "…"))
			out[name+" "+before], out["wrapped "+name+before] = text, wrapped(text, 7)
		}
	}
	return out
}

// inner is the middle of s in base64, which no form may leave.
func leaks(out, s string) bool {
	flat := strings.Join(strings.Fields(out), "")
	for _, f := range append(spellings(s), encodings([]byte(s))...) {
		if strings.Contains(out, f) || strings.Contains(flat, f) {
			return true
		}
	}
	return false
}

func TestFault44EveryFormIsHidden(t *testing.T) {
	for _, s := range []string{awkward, "hunter2horse", "a-b_c.d~e", "grün\tgelb", "p@ss word+1=2?"} {
		r := newWith(t, s)
		for name, text := range printed(s) {
			text = "before " + text + " after"
			got := r.String(text)
			if !strings.Contains(got, mark) || leaks(got, s) || !strings.HasPrefix(got, "before ") || !strings.HasSuffix(got, " after") {
				t.Errorf("%s of %q: %s became %s", name, s, text, got)
			}
			for size := 1; size <= len(text); size++ {
				if in := inPieces(r, text, size); in != got {
					t.Fatalf("%s of %q in pieces of %d: %q, want %q", name, s, size, in, got)
				}
			}
		}
	}
}

func inPieces(r *Redactor, text string, size int) string {
	var out strings.Builder
	w := r.Writer(&out)
	for i := 0; i < len(text); i += size {
		if n, err := w.Write([]byte(text[i:min(i+size, len(text))])); err != nil || n == 0 {
			return fmt.Sprint(n, err)
		}
	}
	if err := w.Close(); err != nil {
		return err.Error()
	}
	return out.String()
}

func TestWhatIsNoSecretStays(t *testing.T) {
	r := newWith(t, "hunter2", awkward, "line one of it\nline two of it\n")
	for _, text := range []string{"", "hunter", "hunter3", "hunhunter", "aGVsbG8gd29ybGQ=", "6869", "line three of it", "\x00\xff"} {
		if got := r.String(text); got != text {
			t.Errorf("%q became %q", text, got)
		}
		if got := inPieces(r, text, 1); got != text {
			t.Errorf("%q in pieces became %q", text, got)
		}
	}
}

func TestSecretsThatOverlap(t *testing.T) {
	r := newWith(t, "abcdef", "defghi", "abcdefghij")
	for text, want := range map[string]string{
		"abcdef": mark, "abcdefghi": mark, "abcdefghij": mark, "xabcdefx": "x" + mark + "x", "abcabcdefghiabc": "abc" + mark + "abc", "abcdefabcdef": mark + mark,
	} {
		if got := r.String(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

func TestLinesOfALongSecret(t *testing.T) {
	key := "-----BEGIN KEY-----\nMC4CAQAwBQYDK2VwBCIEIHpM\nqTxdbGgV0Krd0Qx7q1o0hr3Z\nab=\n-----END KEY-----\n"
	r := newWith(t, key)
	for _, text := range []string{key, strings.ReplaceAll(key, "\n", "\r\n"), "    MC4CAQAwBQYDK2VwBCIEIHpM\n    qTxdbGgV0Krd0Qx7q1o0hr3Z"} {
		if got := r.String(text); strings.Contains(got, "MC4CAQ") || strings.Contains(got, "qTxd") {
			t.Errorf("%q became %q", text, got)
		}
	}
	if got := r.String("-----BEGIN KEY-----"); strings.Contains(got, mark) {
		t.Errorf("the head of any key became %q", got)
	}
}

func TestFault45ShortAndCommonWords(t *testing.T) {
	r := New(mark)
	for value, want := range map[string]string{
		"": "", "abc": `secret "db" has 3 bytes, too few to be found in what is printed: output that has it is shown as it is`,
		"ab":    `secret "db" has 2 bytes, too few to be found in what is printed: output that has it is shown as it is`,
		"Admin": `secret "db" is a common word: output that has it is shown as it is`,
		"abcd":  "",
	} {
		err := r.Add("db", value)
		if got := fmt.Sprint(err); (err == nil) != (want == "") || err != nil && got != want {
			t.Errorf("%q: %v, want %q", value, err, want)
		}
		if err := r.Add("db", value); err != nil {
			t.Errorf("%q: warned again: %v", value, err)
		}
	}
	if got := r.String("abc ab admin abcd"); got != "abc ab admin "+mark {
		t.Errorf("%q", got)
	}
}

func TestNothingIsKnown(t *testing.T) {
	r := New(mark)
	text := []byte("plain text")
	s := r.Stream()
	if n := testing.AllocsPerRun(100, func() {
		if got := s.Feed(text); &got[0] != &text[0] || len(r.Bytes(text)) != len(text) {
			t.Fatal("copied")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestASecretThatIsLearntInTheMiddle(t *testing.T) {
	r := newWith(t, "first-one")
	s := r.Stream()
	out := string(s.Feed([]byte("x fir")))
	if err := r.Add("s", "second-one"); err != nil {
		t.Fatal(err)
	}
	out += string(s.Feed([]byte("st-one second-"))) + string(s.Feed([]byte("one y"))) + string(s.Flush())
	if want := "x " + mark + " " + mark + " y"; out != want {
		t.Errorf("%q, want %q", out, want)
	}
}

func TestManySecretsOneByOne(t *testing.T) {
	r := New(mark)
	secretOf := func(i int) string { return fmt.Sprintf("s3cr3t-%d-%x", i, i*7919) }
	for i := range 300 {
		if err := r.Add("s", secretOf(i)); err != nil {
			t.Fatal(err)
		}
		if i%7 == 0 { // some come together
			continue
		}
		for _, k := range []int{0, i / 2, i} {
			if got := r.String("x" + secretOf(k) + "y"); got != "x"+mark+"y" {
				t.Fatalf("%d of %d: %s", k, i, got)
			}
		}
	}
	if n := len(r.parts); n > 6 {
		t.Errorf("%d parts", n)
	}
}

func TestAny(t *testing.T) {
	r := newWith(t, "hunter2")
	in := map[string]any{"k hunter2": []any{"hunter2", int64(1), map[any]any{"hunter2": "x hunter2", 2: nil}}, "b": []byte("hunter2")}
	got := fmt.Sprint(r.Any(in))
	if strings.Contains(got, "hunter2") || strings.Count(got, mark) != 4 || !strings.Contains(fmt.Sprint(in), "hunter2") {
		t.Error(got)
	}
}

func FuzzStream(f *testing.F) {
	f.Add("hunter2", "echo hunter2 | base64", "aHVudGVyMg==", uint8(3))
	f.Add(awkward, "", "x", uint8(1))
	f.Add("aaaa", "aaaaaaa", "YWFhYQ", uint8(2))
	f.Fuzz(func(t *testing.T, secret, a, b string, size uint8) {
		r := New(mark)
		if r.Add("s", secret) != nil || r.Empty() {
			return
		}
		trimmed := strings.TrimSpace(secret)
		if strings.Contains(mark, trimmed) || len(trimmed) > 200 || len(a)+len(b) > 4096 {
			return
		}
		text := a + secret + b + base64.StdEncoding.EncodeToString([]byte(a+secret+b)) + quoted(secret)
		whole := r.String(text)
		if in := inPieces(r, text, int(size)+1); in != whole {
			t.Fatalf("in pieces: %q\nat once:   %q", in, whole)
		}
		if !strings.Contains(whole, mark) {
			t.Fatalf("%q stayed", text)
		}
		for _, part := range strings.Split(whole, mark) {
			if strings.Contains(part, trimmed) {
				t.Fatalf("%q is left in %q", trimmed, whole)
			}
		}
		if got := r.Bytes([]byte(whole)); len(trimmed) > 20 && !bytes.Equal(got, []byte(whole)) && !strings.Contains(whole, trimmed) {
			t.Logf("marks make new ones: %q", got)
		}
	})
}

func BenchmarkFeed(b *testing.B) {
	text := bytes.Repeat([]byte("Nov 12 10:00:01 web-01 app[17]: request 3fa9 took 12ms, user=alice path=/index.html\n"), 400)
	for _, n := range []int{0, 1, 20, 500} {
		r := New(mark)
		for i := range n {
			if err := r.Add("s", fmt.Sprintf("s3cr3t-%d-%x", i, i*7919)); err != nil {
				b.Fatal(err)
			}
		}
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			s := r.Stream()
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				s.Feed(text)
			}
		})
	}
}

func TestManyUseItAtOnce(t *testing.T) {
	r := New(mark)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for k := range 25 {
				s := fmt.Sprintf("s3cr3t-%d-%d-%x", i, k, k*7919)
				if err := r.Add("s", s); err != nil {
					t.Error(err)
				}
				if got := r.String("x " + s); got != "x "+mark {
					t.Error(got)
				}
			}
		})
	}
	wg.Wait()
}

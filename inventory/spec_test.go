package inventory

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// stricter are inventories of the collection that Ansible takes with a warning
// and sloth refuses.
var stricter = map[string]string{
	"test_int_hostname.yml": "test_int_hostname.yml:5:9: ",
}

// eachSpec calls f for every recorded answer of one kind: "answers", "list",
// "graph" or "patterns".
func eachSpec(t *testing.T, kind string, f func(t *testing.T, source, answer string)) {
	t.Helper()
	answers, err := filepath.Glob(filepath.Join(specFolder(t, "*"), "expected", kind+".*"))
	if err != nil || len(answers) == 0 {
		t.Fatalf("no recorded %s: %v", kind, err)
	}
	for _, a := range answers {
		folder := filepath.Dir(filepath.Dir(a))
		name := strings.TrimPrefix(strings.TrimSuffix(filepath.Base(a), filepath.Ext(a)), kind+".")
		source := filepath.Join(folder, name)
		if _, err := os.Stat(source); err != nil {
			source = filepath.Join(folder, strings.Replace(name, "_hosts", "/hosts", 1))
		}
		t.Run(filepath.Base(folder)+"/"+name, func(t *testing.T) {
			if _, err := os.Stat(source); err != nil {
				t.Fatal(err)
			}
			f(t, source, a)
		})
	}
}

func load(t testing.TB, o Options, sources ...string) *Inventory {
	t.Helper()
	inv, err := Load(t.Context(), sources, o)
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

// loadSpec gives nil where sloth is stricter, after it has checked that.
func loadSpec(t *testing.T, source string) *Inventory {
	t.Helper()
	inv, err := Load(t.Context(), []string{source}, Options{})
	if want, ok := stricter[filepath.Base(source)]; ok {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error at %s", err, want)
		}
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

func TestSpecAnswers(t *testing.T) {
	eachSpec(t, "answers", func(t *testing.T, source, answer string) {
		inv := loadSpec(t, source)
		if inv == nil {
			return
		}
		var want struct {
			Groups   map[string][]string
			Hostvars map[string]any
		}
		readJSON(t, answer, &want)
		got := map[string][]string{}
		for _, g := range inv.GroupNames() {
			got[g] = append([]string{}, inv.HostsOf(g)...)
			slices.Sort(got[g])
		}
		if !reflect.DeepEqual(got, want.Groups) {
			t.Errorf("groups: %v\nwant %v", got, want.Groups)
		}
		for _, h := range inv.Hosts() {
			expected := want.Hostvars[h]
			if expected == nil {
				expected = map[string]any{}
			}
			data, err := json.Marshal(inv.Vars(h))
			if err != nil {
				t.Fatal(err)
			}
			var vars any
			if err := json.Unmarshal(data, &vars); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(vars, expected) {
				t.Errorf("%s: %v\nwant %v", h, vars, expected)
			}
		}
	})
}

func TestSpecListAndGraph(t *testing.T) {
	compare := func(t *testing.T, answer string, write func(*bytes.Buffer) error) {
		t.Helper()
		var got bytes.Buffer
		if err := write(&got); err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(answer)
		if err != nil {
			t.Fatal(err)
		}
		if strings.TrimRight(got.String(), "\n") != strings.TrimRight(string(want), "\n") {
			t.Errorf("got:\n%s\nwant:\n%s", got.String(), want)
		}
	}
	eachSpec(t, "list", func(t *testing.T, source, answer string) {
		if inv := loadSpec(t, source); inv != nil {
			compare(t, answer, func(b *bytes.Buffer) error { return inv.WriteList(b) })
		}
	})
	eachSpec(t, "graph", func(t *testing.T, source, answer string) {
		if inv := loadSpec(t, source); inv != nil {
			compare(t, answer, func(b *bytes.Buffer) error { return inv.WriteGraph(b, "all", false) })
		}
	})
}

func TestSpecPatterns(t *testing.T) {
	eachSpec(t, "patterns", func(t *testing.T, source, answer string) {
		inv := loadSpec(t, source)
		var cases []struct {
			Pattern string
			Limit   *string
			Hosts   []string
		}
		readJSON(t, answer, &cases)
		for _, c := range cases {
			limit := ""
			if c.Limit != nil {
				limit = *c.Limit
			}
			got, err := inv.Match(c.Pattern, limit)
			if !strings.Contains(c.Pattern+limit, "[") {
				// Below the first level Ansible's own order is that of a hash table.
				slices.Sort(got)
				slices.Sort(c.Hosts)
			}
			switch {
			case len(c.Hosts) == 0 && !errors.Is(err, ErrNoHosts):
				t.Errorf("%q limit %q: %v, %v; nothing matches, which is an error", c.Pattern, limit, got, err)
			case len(c.Hosts) > 0 && (err != nil || !slices.Equal(got, c.Hosts)):
				t.Errorf("%q limit %q: %v, %v; want %v", c.Pattern, limit, got, err, c.Hosts)
			}
		}
	})
}

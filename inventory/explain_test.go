package inventory

import (
	"path/filepath"
	"strings"
	"testing"
)

// layered is an inventory in which every kind of place sets v.
func layered(t *testing.T) (source, script string) {
	dir := t.TempDir()
	source, script = filepath.Join(dir, "inv", "hosts"), filepath.Join(dir, "site")
	put(t, source, `h v=host
[all:vars]
v=all
[a]
h
[b]
h
[c]
h
[p:children]
a
[a:vars]
v=a
[b:vars]
v=b
[c:vars]
v=c
ansible_group_priority=5
[p:vars]
v=p
`)
	for _, f := range []string{"inv/group_vars/all.yml", "site/group_vars/all", "inv/group_vars/b.yaml", "site/group_vars/b.json", "inv/host_vars/h/one.yml", "inv/host_vars/h/two", "site/host_vars/h.yml"} {
		put(t, filepath.Join(dir, f), `{"v": "`+f+`"}`)
	}
	return source, script
}

func TestExplain(t *testing.T) {
	source, script := layered(t)
	inv := load(t, Options{ScriptDir: script, ExtraVars: map[string]any{"v": "extra"}}, source)
	got, err := inv.Explain("h", "v")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := WriteExplain(&b, "h", "v", got); err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(b.String(), filepath.Dir(script)+"/", "")
	const want = `v of h is "extra"
* 1. "extra"
     -e, the command line
     the command line beats everything
  2. "site/host_vars/h.yml"
     site/host_vars/h.yml:1, host_vars of h beside the script
     the command line beats everything
  3. "inv/host_vars/h/two"
     inv/host_vars/h/two:1, host_vars of h beside the inventory
     files beside the script beat those beside the inventory
  4. "inv/host_vars/h/one.yml"
     inv/host_vars/h/one.yml:1, host_vars of h beside the inventory
     the file above is read later
  5. "host"
     inv/hosts:1, host h in the inventory
     files of variables beat what the inventory itself says
  6. "site/group_vars/b.json"
     site/group_vars/b.json:1, group_vars of b beside the script
     a variable of the host beats those of its groups
  7. "inv/group_vars/b.yaml"
     inv/group_vars/b.yaml:1, group_vars of b beside the inventory
     files beside the script beat those beside the inventory
  8. "site/group_vars/all"
     site/group_vars/all:1, group_vars of all beside the script
     every other group beats all
  9. "inv/group_vars/all.yml"
     inv/group_vars/all.yml:1, group_vars of all beside the inventory
     files beside the script beat those beside the inventory
  10. "a"
     inv/hosts:13, group a in the inventory
     files of variables beat what the inventory itself says
  11. "c"
     inv/hosts:17, group c in the inventory
     group c is 1 level deep, group a 2 levels: the deeper one wins
  12. "p"
     inv/hosts:20, group p in the inventory
     both are 1 level deep, and ansible_group_priority is 1 for p but 5 for c
  13. "b"
     inv/hosts:15, group b in the inventory
     both are 1 level deep with the same priority, and p comes after b in the alphabet
  14. "all"
     inv/hosts:3, group all in the inventory
     every other group beats all
`
	if text != want {
		t.Errorf("got:\n%s\nwant:\n%s", text, want)
	}
	for i, c := range got {
		if c.Won != (i == 0) {
			t.Errorf("candidate %d won: %t", i, c.Won)
		}
	}
}

// Take the strongest place away, one after the other: Vars must agree with
// Explain about the next.
func TestPrecedence(t *testing.T) {
	source, script := layered(t)
	inv := load(t, Options{ScriptDir: script, ExtraVars: map[string]any{"v": "extra"}}, source)
	all, err := inv.Explain("h", "v")
	if err != nil {
		t.Fatal(err)
	}
	h := inv.lookup("h")
	shared, own := inv.comboOf(h).layers, inv.hostLayers(h)
	layers := append(append([]layer{}, shared...), own...)
	if len(layers) != len(all) {
		t.Fatalf("%d places, %d candidates", len(layers), len(all))
	}
	for i, c := range all {
		if got := plain(mergeLayers(layers[:len(layers)-i]).vals[0]); got != c.Value {
			t.Errorf("without the first %d places it is %v, want %v", i, got, c.Value)
		}
	}
	if got := inv.Vars("h")["v"]; got != "extra" {
		t.Errorf("the variable is %v", got)
	}
}

func TestExplainNothing(t *testing.T) {
	inv := load(t, Options{}, put(t, filepath.Join(t.TempDir(), "hosts"), "web-01 a=1\n"))
	if c, err := inv.Explain("web-01", "b"); err != nil || len(c) != 0 {
		t.Errorf("got %v, %v", c, err)
	}
	if c, err := inv.Explain("web-01", "a"); err != nil || len(c) != 1 || !c[0].Won || c[0].Value != int64(1) || c[0].Line != 1 || c[0].Column != 10 {
		t.Errorf("got %+v, %v", c, err)
	}
	if _, err := inv.Explain("web-1", "a"); err == nil || !strings.Contains(err.Error(), "did you mean web-01?") {
		t.Errorf("got %v", err)
	}
	var b strings.Builder
	if err := WriteExplain(&b, "web-01", "b", nil); err != nil || b.String() != "web-01 has no variable b\n" {
		t.Errorf("got %q, %v", b.String(), err)
	}
}

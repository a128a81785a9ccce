package inventory

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// TestFault57BadInput compares what people are told about bad files with
// testdata/bad/*.txtar: the first file of each is loaded, "want" is the error.
// SLOTH_UPDATE=1 writes it anew, for somebody to read the difference.
func TestFault57BadInput(t *testing.T) {
	cases, err := filepath.Glob("testdata/bad/*.txtar")
	if err != nil || len(cases) == 0 {
		t.Fatal("no cases", err)
	}
	for _, c := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(c), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(c)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			want := len(a.Files) - 1
			for _, f := range a.Files[:want] {
				put(t, filepath.Join(dir, f.Name), string(f.Data))
			}
			_, err = Load(t.Context(), []string{filepath.Join(dir, a.Files[0].Name)}, Options{})
			if err == nil {
				t.Fatal("it is taken")
			}
			got := strings.ReplaceAll(err.Error(), dir+"/", "") + "\n"
			if os.Getenv("SLOTH_UPDATE") == "1" {
				a.Files[want].Data = []byte(got)
				if err := os.WriteFile(c, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if got != string(a.Files[want].Data) {
				t.Errorf("got:\n%s\nwant:\n%s", got, a.Files[want].Data)
			}
		})
	}
}

func TestOddButGood(t *testing.T) {
	for name, text := range map[string]string{
		"bom.yml":   "\ufeffall:\r\n  hosts:\r\n    web:\r\n      a: x\r\n",
		"bom.ini":   "\ufeff[g]\r\nweb a=x\r\n",
		"long.ini":  "[g]\nweb a=x b=" + strings.Repeat("y", 1<<20) + "\n",
		"tabs.json": "{\"g\": {\n\t\"hosts\": {\n\t\t\"web\": {\"a\": \"x\"}}}}",
		"noext":     "g:\n  hosts:\n    web: {a: x}\n",
		"noext-ini": "web a=x\n",
		"vault.yml": "g:\n  hosts:\n    web:\n      a: x\n      b: !vault |\n        $ANSIBLE_VAULT;1.1;AES256\n        6162\n",
	} {
		inv := load(t, Options{}, put(t, filepath.Join(t.TempDir(), name), text))
		if got := inv.Hosts(); len(got) != 1 || got[0] != "web" || inv.Vars("web")["a"] != "x" {
			t.Errorf("%s: %v %.200v", name, got, inv.Vars("web"))
		}
	}
}

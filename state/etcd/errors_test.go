package etcd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	client "go.etcd.io/etcd/client/v3"

	"github.com/sloth-runner/sloth/state"
	"github.com/sloth-runner/sloth/state/etcd/etcdtest"
)

func TestParsePlace(t *testing.T) {
	for address, want := range map[string]Place{
		"etcd://a":               {Hosts: []string{"a:2379"}, Prefix: "sloth"},
		"etcd://a,b:1/x/y/":      {Hosts: []string{"a:2379", "b:1"}, Prefix: "x/y"},
		"etcd://[::1]:9,[::2]/p": {Hosts: []string{"[::1]:9", "[::2]:2379"}, Prefix: "p"},
		"etcd://me@localhost/":   {Hosts: []string{"localhost:2379"}, Prefix: "sloth", User: "me"},
		"etcd://a/p?tls=true":    {Hosts: []string{"a:2379"}, Prefix: "p", TLS: true},
		"etcd://a?ca=c&cert=d&key=e&user=g&password-file=h": {
			Hosts: []string{"a:2379"}, Prefix: "sloth", TLS: true, CA: "c", Cert: "d", Key: "e", User: "g", PasswordFile: "h",
		},
	} {
		if p, err := ParsePlace(address); err != nil || !reflect.DeepEqual(*p, want) {
			t.Errorf("%s: %+v, %v", address, p, err)
		}
	}
	for address, want := range map[string]string{
		"redis://a":                   `the state address "redis://a" does not begin with etcd://`,
		"etcd://":                     "the state address etcd://: a host is empty; write etcd://host1,host2/prefix",
		"etcd://a,,b/p":               "the state address etcd://a,,b/p: a host is empty; write etcd://host1,host2/prefix",
		"etcd://::1/p":                `the state address etcd://::1/p: "::1" is no host:port; an IPv6 address stands in [ ]`,
		"etcd://me:hunter2@a/p":       "a password in the state address is seen by everybody: write user=NAME&password-file=FILE behind a ? instead",
		"etcd://a?user=me&password=x": "a password in the state address is seen by everybody: use password-file=FILE",
		"etcd://a?user=me":            "the password would travel in plain text: add tls=true, or ca=FILE, to the state address",
		"etcd://a?cert=x":             "the state address needs both cert and key, or neither",
		"etcd://a?password-file=x":    "the state address has a password-file but no user",
		"etcd://a?tls=maybe":          `the parameter tls of the state address is true or left out, not "maybe"`,
		"etcd://a?ca=":                "the parameter ca of the state address needs one value",
		"etcd://a?timeout=5":          `the state address has no parameter "timeout"; there are tls, ca, cert, key, user and password-file`,
	} {
		_, err := ParsePlace(address)
		if err == nil || err.Error() != want || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v\nwant %s", address, err, want)
		}
	}
}

// TestUsers: a cluster with users refuses strangers, wrong passwords and keys
// outside of what was granted, each in clear words.
func TestUsers(t *testing.T) {
	c := etcdtest.Start(t, etcdtest.Options{})
	ctx := t.Context()
	admin := c.Client(t)
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(admin.UserAdd(ctx, "root", "rootpw"))
	must(admin.UserGrantRole(ctx, "root", "root"))
	must(admin.UserAdd(ctx, "me", "right"))
	must(admin.RoleAdd(ctx, "team"))
	must(admin.RoleGrantPermission(ctx, "team", "team/", "team0", client.PermissionType(client.PermReadWrite)))
	must(admin.UserGrantRole(ctx, "me", "team"))
	must(admin.AuthEnable(ctx))
	file := func(password string, mode os.FileMode) string {
		path := filepath.Join(t.TempDir(), "password")
		if err := errors.Join(os.WriteFile(path, []byte(password+"\nmore"), mode), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	at := "etcd://" + c.Hosts[0]
	use := func(rest string, ask func(context.Context) (string, error)) error {
		s := New(Options{Place: place(t, c.Hosts, rest), Password: ask, Timeout: 5 * time.Second})
		defer s.Close()
		_, err := s.Put(ctx, "a", []byte("x"), 0, state.Any)
		return err
	}
	open := file("right", 0o644)
	for _, x := range []struct{ rest, want string }{
		{"team?user=me&password-file=" + file("right", 0o600), ""},
		{"team?user=me&password-file=" + file("wrong", 0o600), "state " + at + `/team: it refused the user "me": wrong name or password`},
		{"team?user=nobody&password-file=" + file("right", 0o600), "state " + at + `/team: it refused the user "nobody": wrong name or password`},
		{"team?user=me&password-file=" + open, fmt.Sprintf("the password file %s can be read by everybody; close it: chmod 600 %[1]s", open)},
		{"team?user=me", fmt.Sprintf(`the user "me" of %s/team needs a password-file`, at)},
		{"team", "state " + at + "/team: it wants a user and a password"},
		{"other?user=me&password-file=" + file("right", 0o600), "state " + at + `/other: the user "me" may not read and write under other/`},
	} {
		switch err := use(x.rest, nil); {
		case x.want == "" && err != nil, x.want != "" && (err == nil || err.Error() != x.want):
			t.Errorf("%s: %v\nwant %s", x.rest, err, x.want)
		}
	}
	if err := use("team?user=me", func(context.Context) (string, error) { return "right", nil }); err != nil {
		t.Errorf("a password that was asked for: %v", err)
	}
}

func TestTLS(t *testing.T) {
	c := etcdtest.Start(t, etcdtest.Options{TLS: true})
	use := func(rest string) error {
		s := New(Options{Place: place(t, c.Hosts, rest), Timeout: 2 * time.Second})
		defer s.Close()
		_, err := s.Put(t.Context(), "a", []byte("x"), 0, state.Any)
		return err
	}
	good := fmt.Sprintf("p?ca=%s&cert=%s&key=%s", c.CA, c.Cert, c.Key)
	for end := time.Now().Add(20 * time.Second); ; {
		err := use(good)
		if err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	key, err := os.ReadFile(c.Key)
	if err != nil {
		t.Fatal(err)
	}
	open := filepath.Join(t.TempDir(), "key")
	if err := errors.Join(os.WriteFile(open, key, 0o600), os.Chmod(open, 0o604)); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(c.Hosts[0])
	s := New(Options{Place: place(t, []string{"localhost:" + port}, good)})
	defer s.Close()
	if _, err := s.Get(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), "no trusted connection: authentication handshake failed: tls: failed to verify certificate: x509: certificate is") {
		t.Errorf("a certificate of another name: %v", err)
	}
	for rest, want := range map[string]string{
		"p?tls=true":         "no trusted connection: authentication handshake failed: tls: failed to verify certificate: x509: certificate signed by unknown authority",
		"p?ca=/no/such/file": "read the authority's certificate: open /no/such/file: no such file or directory",
		"p?ca=" + c.Key:      c.Key + " holds no certificate in PEM form",
		"p?ca=" + c.CA + "&cert=" + c.Cert + "&key=" + open: "the key " + open + " can be read by everybody; close it: chmod 600 " + open,
		"p": "does not answer: 0 of 1 hosts were reached",
	} {
		if err := use(rest); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v\nwant %s", rest, err, want)
		}
	}
}

// TestLimits: the cluster's own limits have names.
func TestLimits(t *testing.T) {
	c := etcdtest.Start(t, etcdtest.Options{Args: []string{"--max-request-bytes", "10000", "--max-txn-ops", "4"}})
	s := New(Options{Place: place(t, c.Hosts, "p")})
	defer s.Close()
	_, err := s.Put(t.Context(), "a", make([]byte, 20000), 0, state.Any)
	if want := "state etcd://" + c.Hosts[0] + "/p: the write is over the cluster's limit for a request, --max-request-bytes"; err == nil || err.Error() != want {
		t.Errorf("%v\nwant %s", err, want)
	}
	var many []state.Op
	for i := range 5 {
		many = append(many, state.Op{Key: fmt.Sprint(i), If: state.Any})
	}
	_, err = s.Commit(t.Context(), many)
	if want := "state etcd://" + c.Hosts[0] + "/p: the transaction is over the cluster's limit, --max-txn-ops"; err == nil || err.Error() != want {
		t.Errorf("%v\nwant %s", err, want)
	}
}

func TestForeignAndNewer(t *testing.T) {
	c := etcdtest.Start(t, etcdtest.Options{})
	cl := c.Client(t)
	for key, value := range map[string]string{"new/schema": "2", "odd/schema": "?", "mixed/k/a": "somebody's"} {
		if _, err := cl.Put(t.Context(), key, value); err != nil {
			t.Fatal(err)
		}
	}
	at := "etcd://" + c.Hosts[0]
	for prefix, want := range map[string]string{
		"new":   "state " + at + "/new was written by a newer sloth: it has schema 2, this one knows up to 1",
		"odd":   "state " + at + `/odd: the key "odd/schema" was not written by sloth`,
		"mixed": "state " + at + `/mixed: the key "mixed/k/a" was not written by sloth`,
	} {
		s := New(Options{Place: place(t, c.Hosts, prefix)})
		_, err := s.Get(t.Context(), "a")
		var hint interface{ Hint() string }
		if err == nil || err.Error() != want || !errors.As(err, &hint) || hint.Hint() == "" {
			t.Errorf("%v\nwant %s", err, want)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

package secret

import (
	"context"
	"os"
	"slices"
	"strings"

	"github.com/sloth-runner/sloth/modules"
)

// envPrefix begins the names of variables that hold secrets.
const envPrefix = "SLOTH_SECRET_"

// Env has the secrets in variables such as SLOTH_SECRET_DB_PASSWORD, which is
// the secret db_password, db-password or db/password.
type Env struct{}

// Where says what the variables are called.
func (Env) Where() string { return "the environment (" + envPrefix + "NAME)" }

// Get looks the variable up.
func (Env) Get(_ context.Context, name string) (modules.Secret, error) {
	v := os.Getenv(envPrefix + envName(name))
	if v == "" { // which is how CI systems pass on what they do not have
		return modules.Secret{}, ErrNotFound
	}
	return modules.NewSecret(v), nil
}

// List gives the names in lower case, as they are usually written.
func (Env) List(context.Context) ([]string, error) {
	var names []string
	for _, kv := range os.Environ() {
		k, v, _ := strings.Cut(kv, "=")
		if name, ok := strings.CutPrefix(k, envPrefix); ok && name != "" && v != "" {
			names = append(names, strings.ToLower(name))
		}
	}
	slices.Sort(names)
	return names, nil
}

func envName(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z' || r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, name)
}

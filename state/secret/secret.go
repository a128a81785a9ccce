// Package secret finds secrets by name: in a file that age encrypts, in the
// environment, in what a program prints, or in a file of ansible-vault. Values
// are modules.Secret, which nothing prints.
package secret

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sloth-runner/sloth/modules"
)

// ErrNotFound is the error of a name that a provider does not have.
var ErrNotFound = errors.New("not found")

// MaxValue is the size of one secret, in bytes.
const MaxValue = 1 << 20

// Provider is a place that has secrets. Its methods may be called from several
// goroutines at once.
type Provider interface {
	// Where names the place, for people.
	Where() string
	// Get returns the secret of that name, or an error that is ErrNotFound.
	Get(ctx context.Context, name string) (modules.Secret, error)
	// List returns the names in order. Providers that cannot tell return
	// ErrNoList.
	List(ctx context.Context) ([]string, error)
}

// ErrNoList is the error of a provider that cannot say what it has.
var ErrNoList = errors.New("it cannot list its secrets")

// CheckName refuses names that files, variables and command lines cannot carry.
func CheckName(name string) error {
	if name == "" || len(name) > 128 {
		return fmt.Errorf("%.40q is no name of a secret: it must have 1 to 128 characters", name)
	}
	for i, c := range name {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || i > 0 && (c == '-' || c == '.' || c == '/') {
			continue
		}
		return fmt.Errorf("%.40q is no name of a secret: use letters, digits, _ and inside of it - . and /", name)
	}
	if strings.Contains(name, "..") {
		return fmt.Errorf("%.40q is no name of a secret: it has two dots in a row", name)
	}
	return nil
}

// Chain asks several providers in order; the first that has the name counts.
type Chain []Provider

// Where names all places.
func (c Chain) Where() string {
	names := make([]string, len(c))
	for i, p := range c {
		names[i] = p.Where()
	}
	return strings.Join(names, ", ")
}

// Get asks one after the other. A provider that fails ends the search: what it
// would have answered must not come from elsewhere.
func (c Chain) Get(ctx context.Context, name string) (modules.Secret, error) {
	if err := CheckName(name); err != nil {
		return modules.Secret{}, err
	}
	for _, p := range c {
		v, err := p.Get(ctx, name)
		switch {
		case err == nil:
			return v, nil
		case !errors.Is(err, ErrNotFound):
			return modules.Secret{}, fmt.Errorf("secret %q: %w", name, err)
		}
	}
	if len(c) == 0 {
		return modules.Secret{}, fmt.Errorf("secret %q: %w: there is no place to look for secrets", name, ErrNotFound)
	}
	return modules.Secret{}, fmt.Errorf("secret %q: %w in %s", name, ErrNotFound, c.Where())
}

// List joins the names of those that can tell.
func (c Chain) List(ctx context.Context) ([]string, error) {
	var all []string
	for _, p := range c {
		names, err := p.List(ctx)
		if errors.Is(err, ErrNoList) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, names...)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

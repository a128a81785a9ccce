package modules

import (
	"context"
	"fmt"
)

// Hidden is shown in the place of every secret.
const Hidden = "(secret)"

// Secret is a value that is passed on but never shown: however it is printed
// or encoded, Hidden comes out.
type Secret struct{ value string }

// NewSecret wraps a value.
func NewSecret(value string) Secret { return Secret{value} }

// MakeSecret wraps a value that comes into being here, and makes it known to
// whoever hides secrets in what people see.
func MakeSecret(ctx context.Context, value string) Secret {
	if c := CallOf(ctx); c.Learn != nil && value != "" {
		c.Learn(value)
	}
	return Secret{value}
}

// Reveal returns the value, for the one place that needs it.
func (s Secret) Reveal() string { return s.value }

// Empty reports whether there is nothing to hide.
func (s Secret) Empty() bool { return s.value == "" }

// Format prints Hidden under every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(Hidden)) }

// MarshalText keeps secrets out of JSON, YAML and logs.
func (s Secret) MarshalText() ([]byte, error) { return []byte(Hidden), nil }

// Text is text that may be a secret, such as the content of a file. It knows
// whether it was given, so that an empty text differs from none.
type Text struct {
	value         string
	given, secret bool
}

// PlainText makes a Text that is no secret.
func PlainText(value string) Text { return Text{value: value, given: true} }

// SecretText makes a Text of a secret.
func SecretText(s Secret) Text { return Text{value: s.Reveal(), given: true, secret: true} }

// Given reports whether the argument was there.
func (t Text) Given() bool { return t.given }

// IsSecret reports whether the text must not be shown.
func (t Text) IsSecret() bool { return t.secret }

// Reveal returns the text; what IsSecret must go no further than needed.
func (t Text) Reveal() string { return t.value }

// Format prints the text, or Hidden under every verb when it is a secret.
func (t Text) Format(f fmt.State, _ rune) {
	if t.secret {
		_, _ = f.Write([]byte(Hidden))
		return
	}
	_, _ = f.Write([]byte(t.value))
}

package modules

import "fmt"

// Hidden is shown in the place of every secret.
const Hidden = "(secret)"

// Secret is a value that is passed on but never shown: however it is printed
// or encoded, Hidden comes out.
type Secret struct{ value string }

// NewSecret wraps a value.
func NewSecret(value string) Secret { return Secret{value} }

// Reveal returns the value, for the one place that needs it.
func (s Secret) Reveal() string { return s.value }

// Empty reports whether there is nothing to hide.
func (s Secret) Empty() bool { return s.value == "" }

// Format prints Hidden under every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(Hidden)) }

// MarshalText keeps secrets out of JSON, YAML and logs.
func (s Secret) MarshalText() ([]byte, error) { return []byte(Hidden), nil }

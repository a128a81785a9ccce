// Package saved is the plan that `sloth plan -o` writes and `sloth apply` reads:
// what a check found on each host, and what it stood on. Nothing in it can be
// turned back into a secret, and nobody without the key can change it unseen.
package saved

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/runner/step"
)

// Plan is one saved plan.
type Plan struct {
	Version  string    `json:"version"` // of the sloth that made it
	Made     time.Time `json:"made"`
	Salt     string    `json:"salt"` // hex; makes the digests of this plan its own
	Dir      string    `json:"dir"`  // where the names in File and Flags begin
	File     string    `json:"file"`
	Workflow string    `json:"workflow,omitempty"`
	Flags    []Flag    `json:"flags,omitempty"`
	Inputs   []Input   `json:"inputs"`
	Hosts    []Host    `json:"hosts"`
}

// Flag is one flag of the command that made the plan.
type Flag struct {
	Name   string   `json:"name"`
	Values []string `json:"values"`
}

// Kinds of inputs.
const (
	KindSource   = "source"   // a .sloth or .lua file
	KindFile     = "file"     // a file that hosts are given, or a template
	KindValue    = "value"    // of --values
	KindParam    = "param"    // of --param
	KindVariable = "variable" // of a host in the inventory
	KindHost     = "host"     // how a host is reached, its groups, whom tasks become
	KindSecret   = "secret"
	KindAnswer   = "answer" // to prompt()
	KindShim     = "shim"   // by platform
	KindVersion  = "version"
)

// Input is something that the plan stands on. Hash is keyed: it tells that the
// content is another, and not what it is.
type Input struct {
	Kind string `json:"kind"`
	Host string `json:"host,omitempty"`
	Name string `json:"name"`
	Hash string `json:"hash"`
}

// Host is what was found on one host, in the order of its steps.
type Host struct {
	Name  string `json:"name"`
	Steps []Step `json:"steps"`
}

// Step is one step. ID is the keyed digest of its identity in a run.
type Step struct {
	ID      string          `json:"id"`
	Task    string          `json:"task"`
	Status  event.Status    `json:"status"`
	Partial bool            `json:"partial,omitempty"` // cannot be planned to its end
	Message string          `json:"message,omitempty"`
	Calls   []step.Expected `json:"calls,omitempty"`
}

// Unknown names what the plan could not know, for people.
func (p *Plan) Unknown() []string {
	var out []string
	for _, h := range p.Hosts {
		for _, s := range h.Steps {
			for _, c := range s.Calls {
				if c.Unknown {
					out = append(out, h.Name+": "+s.Task+": "+c.Place())
				}
			}
			if s.Partial {
				out = append(out, h.Name+": "+s.Task+": "+s.Message)
			}
		}
	}
	return out
}

// Key turns contents into digests, for one plan.
type Key struct{ key []byte }

// NewSalt makes the salt of a new plan.
func NewSalt() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

// KeyOf derives the key of a plan from the one that its maker keeps.
func KeyOf(secret []byte, salt string) Key { return Key{mac(secret, "plan", salt)} }

func mac(key []byte, parts ...string) []byte {
	h := hmac.New(sha256.New, key)
	for _, p := range parts {
		var n [8]byte
		for i := range n {
			n[i] = byte(len(p) >> (8 * i))
		}
		h.Write(n[:])
		h.Write([]byte(p))
	}
	return h.Sum(nil)
}

func (k Key) digest(parts ...string) string {
	return hex.EncodeToString(mac(k.key, parts...)[:bind.SealSize])
}

// Host is the key under which calls on host are digested. A host that is not
// to be trusted learns nothing with it but about itself.
func (k Key) Host(host string) []byte { return mac(k.key, "host", host) }

// Input makes an Input of a content.
func (k Key) Input(kind, host, name, content string) Input {
	return Input{Kind: kind, Host: host, Name: name, Hash: k.digest("input", kind, host, name, content)}
}

func (k Key) step(id string) string { return k.digest("step", id) }

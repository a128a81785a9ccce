package bind

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"math"
	"reflect"
	"slices"
	"sort"

	"github.com/sloth-runner/sloth/modules"
)

// SealSize is the length of a digest in a Record, in bytes.
const SealSize = 16

// sealer hashes values under a key: who has the digest and not the key can't
// try what a secret might be.
type sealer struct{ hash.Hash }

func newSealer(key []byte, what string) sealer {
	s := sealer{hmac.New(sha256.New, key)}
	s.text(what)
	return s
}

func (s sealer) sum() string { return hex.EncodeToString(s.Sum(nil)[:SealSize]) }

// text writes its length too, so that "ab","c" is not "a","bc".
func (s sealer) text(t string) {
	s.number('s', uint64(len(t)))
	s.Write([]byte(t))
}

func (s sealer) number(kind byte, n uint64) {
	s.Write([]byte{kind, byte(n >> 56), byte(n >> 48), byte(n >> 40), byte(n >> 32), byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

// Sealed completes r with the digests of its difference and of a call's
// arguments, as a script gave them. Without a key it has none.
func (e *Env) Sealed(r Record, args ...string) Record {
	if len(e.Seal) == 0 {
		return r
	}
	s := newSealer(e.Seal, "args")
	s.text(r.Function)
	for _, a := range args {
		s.text(a)
	}
	r.Args = s.sum()
	return e.seen(r)
}

// seen digests what a check found.
func (e *Env) seen(r Record) Record {
	if len(e.Seal) == 0 {
		return r
	}
	s := newSealer(e.Seal, "diff")
	if r.Changed {
		s.Write([]byte{1})
	}
	// The rows of a diff say the same in any order.
	rows := make([]string, len(r.Diff.Changes))
	for i, c := range r.Diff.Changes {
		row := newSealer(e.Seal, "row")
		for _, t := range []string{c.What, c.Attr, c.Before, c.After} {
			row.text(t)
		}
		row.text(fmt.Sprint(c.Text, c.Hidden, c.Unknown))
		rows[i] = row.sum()
	}
	slices.Sort(rows)
	for _, row := range rows {
		s.text(row)
	}
	r.Seen = s.sum()
	return r
}

// sealArgs digests a filled argument struct, with the secrets in it.
func (e *Env) sealArgs(function string, filled any) string {
	if len(e.Seal) == 0 {
		return ""
	}
	s := newSealer(e.Seal, "args")
	s.text(function)
	v := reflect.ValueOf(filled)
	for v.Kind() == reflect.Pointer && !v.IsNil() {
		v = v.Elem()
	}
	s.fields(v)
	return s.sum()
}

// fields writes the arguments of a struct; other fields are what a check keeps
// for itself.
func (s sealer) fields(v reflect.Value) {
	if v.Kind() != reflect.Struct {
		return
	}
	t := v.Type()
	for i := range t.NumField() {
		f := t.Field(i)
		_, tagged := f.Tag.Lookup("lua")
		switch {
		case f.Anonymous && f.Type.Kind() == reflect.Struct && !tagged:
			s.fields(v.Field(i))
		case tagged && f.IsExported():
			s.text(f.Name)
			s.value(v.Field(i), 0)
		}
	}
}

// maxSealDepth is deeper than tables of arguments may be.
const maxSealDepth = 256

func (s sealer) value(v reflect.Value, depth int) {
	if !v.IsValid() || depth > maxSealDepth {
		s.Write([]byte{'0'})
		return
	}
	switch t := v.Interface().(type) {
	case modules.Secret:
		s.Write([]byte{'S'})
		s.text(t.Reveal())
		return
	case modules.Text:
		s.text(fmt.Sprint("text", t.Given(), t.IsSecret()))
		s.text(t.Reveal())
		return
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		s.value(v.Elem(), depth+1)
	case reflect.String:
		s.text(v.String())
	case reflect.Bool:
		s.text(fmt.Sprint(v.Bool()))
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		s.number('i', uint64(v.Int())) //nolint:gosec // the bits are what counts
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		s.number('u', v.Uint())
	case reflect.Float32, reflect.Float64:
		s.number('f', math.Float64bits(v.Float()))
	case reflect.Slice, reflect.Array:
		s.number('l', uint64(v.Len())) //nolint:gosec // a length
		for i := range v.Len() {
			s.value(v.Index(i), depth+1)
		}
	case reflect.Map:
		keys := v.MapKeys()
		sort.Slice(keys, func(a, b int) bool { return fmt.Sprint(keys[a].Interface()) < fmt.Sprint(keys[b].Interface()) })
		s.number('m', uint64(len(keys)))
		for _, k := range keys {
			s.value(k, depth+1)
			s.value(v.MapIndex(k), depth+1)
		}
	default: // a function is known by its source
		s.text(v.Kind().String())
	}
}

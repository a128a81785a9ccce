package inventory

import (
	"maps"
	"slices"
)

// variable is one name and value, and where they are written.
type variable struct {
	name string
	key  any // what name was in the file when it was not text, noName for a null; else nil
	val  any
	pos  pos
}

// noName is the key of a variable whose name is null.
type noName struct{}

// varset holds variables in the order of their first setting. Most hosts have
// a handful, so it is a list; the index is made when it grows.
type varset struct {
	list  []variable
	index map[string]int32
}

const indexFrom = 24

func (s *varset) set(v variable) {
	if i := s.find(v.name); i >= 0 {
		s.list[i] = v
		return
	}
	s.list = append(s.list, v)
	switch {
	case s.index != nil:
		s.index[v.name] = int32(len(s.list) - 1)
	case len(s.list) > indexFrom:
		s.index = make(map[string]int32, 2*len(s.list))
		for i := range s.list {
			s.index[s.list[i].name] = int32(i)
		}
	}
}

func (s *varset) find(name string) int {
	if s.index != nil {
		if i, ok := s.index[name]; ok {
			return int(i)
		}
		return -1
	}
	for i := range s.list {
		if s.list[i].name == name {
			return i
		}
	}
	return -1
}

func (s *varset) get(name string) *variable {
	if i := s.find(name); i >= 0 {
		return &s.list[i]
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

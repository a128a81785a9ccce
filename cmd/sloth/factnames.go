package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/go-multierror"
	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/lua/dsl"
)

func isFact(name string) bool {
	name = strings.TrimPrefix(name, "ansible_")
	return slices.Contains(facts.Names(), name) || slices.Contains(facts.Collectors(), name)
}

// knownFacts refuses names that are near to a fact and none. Others may be those
// of interfaces, which only a host knows.
func knownFacts(names []string) error {
	known := append(facts.Names(), facts.Collectors()...)
	var problems *multierror.Error
	for _, name := range names {
		if near := dsl.NearFact(name, known); near != "" {
			problems = multierror.Append(problems, fmt.Errorf("--fact: there is no fact %q; did you mean %q?", name, near))
		}
	}
	return problems.ErrorOrNil()
}

// nowhere reports the names that are no facts and that no host knows either.
func nowhere(names []string, hosts map[string]any) error {
	var problems *multierror.Error
	for _, name := range names {
		if !isFact(name) && len(hosts) > 0 && !anyHas(hosts, strings.TrimPrefix(name, "ansible_")) {
			problems = multierror.Append(problems, withHint(fmt.Errorf("--fact: there is no fact %q, and no host has an interface of that name", name),
				"Without --fact all are shown."))
		}
	}
	return problems.ErrorOrNil()
}

func anyHas(hosts map[string]any, name string) bool {
	for _, v := range hosts {
		if f, ok := v.(map[string]any); ok {
			if _, has := f[name]; has {
				return true
			}
		}
	}
	return false
}

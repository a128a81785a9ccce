// Package firewall is the module firewall: one way to speak of packets that come
// and go, over ufw, firewalld and nftables.
package firewall

import "github.com/sloth-runner/sloth/modules"

const result = "{success, changed, message, diff, backend}"

// Module describes the module firewall.
func Module() modules.Module {
	refuse := func(action string) func() any {
		return func() any { return &refuseCall{ruleCall: ruleCall{action: action, match: newMatch()}} }
	}
	return modules.Module{
		Name:    "firewall",
		Summary: "Firewall rules over ufw, firewalld or nftables; what would cut off the SSH connection it works through is an error.",
		Funcs: []modules.Func{
			{Name: "allow", Summary: "Let packets pass.", Returns: result,
				Example: `firewall.allow({ port = 443, from = "10.0.0.0/8", comment = "the web site" })`, New: func() any { return &ruleCall{action: allow, match: newMatch()} }},
			{Name: "deny", Aliases: []string{"drop"}, Summary: "Drop packets without an answer.", Returns: result,
				Example: `firewall.deny({ from = "192.0.2.0/24" })`, New: refuse(deny)},
			{Name: "reject", Summary: "Refuse packets with an answer.", Returns: result,
				Example: `firewall.reject({ port = 25, direction = "out" })`, New: refuse(reject)},
			{Name: "remove", Aliases: []string{"delete"}, Summary: "Do away with a rule, which is described as it was made.", Returns: result,
				Example: `firewall.remove({ port = 8080 })`, New: func() any { return &removeCall{Action: allow, match: newMatch()} }},
			{Name: "default", Aliases: []string{"policy"}, Summary: "Say what becomes of packets that no rule speaks of.", Returns: result,
				Example: `firewall.default({ outgoing = "reject" })`, New: func() any { return &policyCall{} }},
			{Name: "enable", Summary: "Switch the firewall on, now and at every start.", Returns: result,
				Example: `firewall.enable({ backend = "ufw" })`, New: func() any { return &switchCall{} }},
			{Name: "disable", Summary: "Switch the firewall off, now and at every start; its rules are kept.", Returns: result,
				Example: `firewall.disable({ backend = "nft" })`, New: func() any { return &offCall{} }},
			{Name: "status", Summary: "Tell which firewall there is, whether it is on, and what it does with packets that no rule speaks of.",
				Returns: "{backend, enabled, incoming, outgoing, rules}", Example: `local s = firewall.status()`, New: func() any { return &status{} }},
			{Name: "list", Summary: "List the rules, in the order in which they are tried.", Returns: "list of {action, direction, proto, port, from, to, interface, comment}",
				Example: `local rules = firewall.list()`, New: func() any { return &status{rules: true} }},
		},
	}
}

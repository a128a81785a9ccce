// Package user is the module user: accounts and groups of the host, read from
// its files and changed with useradd and its companions.
package user

import "github.com/sloth-runner/sloth/modules"

const result = "{success, changed, message, diff}"

// Module describes the module user.
func Module() modules.Module {
	get := func(what string) func() any { return func() any { return &field{what: what} } }
	var funcs []modules.Func
	funcs = append(funcs, []modules.Func{
		{Name: "create", Aliases: []string{"add"}, Summary: "Create a user, or bring one that is there into the state described.", Returns: result,
			Example: `user.create({ name = "webapp", home = "/home/webapp", shell = "/bin/bash" })`, New: func() any { return &create{Append: true, CreateHome: true, Update: onCreate, State: modules.Present} }},
		{Name: "modify", Summary: "Change a user that is there.", Returns: result,
			Example: `user.modify("deploy", { shell = "/usr/sbin/nologin" })`, New: func() any { return &modify{Append: true, Update: onCreate} }},
		{Name: "delete", Aliases: []string{"remove"}, Summary: "Delete a user.", Returns: result,
			Example: `user.delete("deploy")`, New: func() any { return &remove{} }},
		{Name: "lock", Summary: "Make the password of a user useless; keys of SSH still work.", Returns: result,
			Example: `user.lock("deploy")`, New: func() any { return &lock{lock: true} }},
		{Name: "unlock", Summary: "Undo lock.", Returns: result,
			Example: `user.unlock("guest")`, New: func() any { return &lock{} }},
		{Name: "set_password", Summary: "Set the password of a user, given as a crypt hash or as a secret.", Returns: result,
			Example: `user.set_password("deploy", "$6$salt$hash")`, New: func() any { return &setPassword{} }},
		{Name: "set_shell", Summary: "Set the login shell of a user.", Returns: result,
			Example: `user.set_shell("deploy", "/bin/sh")`, New: func() any { return &setShell{} }},
		{Name: "set_home", Summary: "Set the home folder of a user.", Returns: result,
			Example: `user.set_home("deploy", "/srv/webapp")`, New: func() any { return &setHome{} }},
		{Name: "set_comment", Summary: "Set the comment of a user, which is often the full name.", Returns: result,
			Example: `user.set_comment("deploy", "The web application")`, New: func() any { return &setComment{} }},
		{Name: "set_primary_group", Summary: "Set the primary group of a user.", Returns: result,
			Example: `user.set_primary_group("deploy", "www-data")`, New: func() any { return &setPrimary{} }},
		{Name: "add_to_group", Summary: "Make a user a member of a group.", Returns: result,
			Example: `user.add_to_group("deploy", "www-data")`, New: func() any { return &member{in: true} }},
		{Name: "remove_from_group", Summary: "End the membership of a user in a group.", Returns: result,
			Example: `user.remove_from_group("deploy", "adm")`, New: func() any { return &member{} }},

		{Name: "set_expiry", Summary: "Set the date from which on nobody can log in as the user.", Returns: result,
			Example: `user.set_expiry("deploy", "2030-12-31")`, New: func() any { return &setExpiry{} }},
		{Name: "expire_password", Summary: "Ask for a new password at the next login.", Returns: result,
			Example: `user.expire_password("deploy")`, New: func() any { return &expirePassword{} }},
		{Name: "run_as", Summary: "Run a command as a user, which only root can; raises nothing when the command fails.", Returns: "{success, changed, exit_code, stdout, stderr, error, duration}",
			Example: `local r = user.run_as("root", "id -un")`, New: func() any { return &runAs{} }},

		{Name: "exists", Summary: "Tell whether there is a user of that name.", Returns: "boolean",
			Example: `local yes = user.exists("root")`, New: get("exists")},
		{Name: "get_info", Aliases: []string{"info"}, Summary: "Describe a user; nil when there is none.", Returns: "{name, uid, gid, group, groups, comment, home, shell} or nil",
			Example: `local u = user.get_info("root")`, New: get("info")},
		{Name: "get_uid", Summary: "Return the number of a user, or nil.", Returns: "number or nil", Example: `local id = user.get_uid("root")`, New: get("uid")},
		{Name: "get_gid", Summary: "Return the number of a user's primary group, or nil.", Returns: "number or nil", Example: `local id = user.get_gid("root")`, New: get("gid")},
		{Name: "get_home", Summary: "Return the home folder of a user, or nil.", Returns: "text or nil", Example: `local dir = user.get_home("root")`, New: get("home")},
		{Name: "get_shell", Summary: "Return the login shell of a user, or nil.", Returns: "text or nil", Example: `local sh = user.get_shell("root")`, New: get("shell")},
		{Name: "get_comment", Summary: "Return the comment of a user, or nil.", Returns: "text or nil", Example: `local c = user.get_comment("root")`, New: get("comment")},
		{Name: "get_groups", Summary: "List the groups that a user is in, the primary one first; nil when there is no such user.", Returns: "list of names or nil", Example: `local g = user.get_groups("root")`, New: get("groups")},
		{Name: "is_locked", Summary: "Tell whether the password of a user is locked; only root can see it.", Returns: "boolean", Example: `local ok, yes = pcall(user.is_locked, "root")`, New: get("locked")},
		{Name: "is_system_user", Summary: "Tell whether a user is one of the system's: its number is below 1000, or nobody's.", Returns: "boolean", Example: `local yes = user.is_system_user("root")`, New: get("system")},
		{Name: "get_last_login", Summary: "Tell when and from where a user last logged in; nil when it never did.", Returns: "{time (Unix seconds), date, terminal, host} or nil",
			Example: `local ok, l = pcall(user.get_last_login, "root")`, New: func() any { return &lastLogin{} }},
		{Name: "list", Summary: "List the users of the host's own file.", Returns: "list of what get_info returns", Example: `local all = user.list()`, New: func() any { return &list{} }},
		{Name: "get_current", Summary: "Describe the user that the task runs as.", Returns: "{name, uid, gid, group, groups, comment, home, shell}", Example: `local me = user.get_current()`, New: func() any { return &current{} }},
		{Name: "is_root", Summary: "Tell whether the task runs as root.", Returns: "boolean", Example: `local yes = user.is_root()`, New: func() any { return &current{root: true} }},
		{Name: "validate_username", Summary: "Tell whether a text can be the name of a user, and if not, why.", Returns: "boolean, and the reason when it is false", Example: `local ok, why = user.validate_username("web app")`, New: func() any { return &validName{} }},
	}...)
	return modules.Module{
		Name:    "user",
		Summary: "Users and groups of the host; raises when they cannot be changed.",
		Call:    "create",
		Funcs:   append(funcs, groupFuncs()...),
	}
}

func groupFuncs() []modules.Func {
	get := func(what string) func() any { return func() any { return &groupField{what: what} } }
	return []modules.Func{
		{Name: "group_create", Summary: "Create a group, or give one that is there the number asked for.", Returns: result,
			Example: `user.group_create("deployers")`, New: func() any { return &groupCreate{} }},
		{Name: "group_delete", Summary: "Delete a group.", Returns: result,
			Example: `user.group_delete("old-team")`, New: func() any { return &groupDelete{} }},
		{Name: "group_add_member", Summary: "Make a user a member of a group.", Returns: result,
			Example: `user.group_add_member("www-data", "deploy")`, New: func() any { return &groupMember{in: true} }},
		{Name: "group_remove_member", Summary: "End the membership of a user in a group.", Returns: result,
			Example: `user.group_remove_member("adm", "deploy")`, New: func() any { return &groupMember{} }},
		{Name: "group_exists", Summary: "Tell whether there is a group of that name.", Returns: "boolean", Example: `local yes = user.group_exists("root")`, New: get("exists")},
		{Name: "group_get_info", Summary: "Describe a group; nil when there is none.", Returns: "{name, gid, members} or nil", Example: `local g = user.group_get_info("root")`, New: get("info")},
		{Name: "group_get_gid", Summary: "Return the number of a group, or nil.", Returns: "number or nil", Example: `local id = user.group_get_gid("root")`, New: get("gid")},
		{Name: "group_members", Summary: "List the members of a group, with those whose primary group it is; nil when there is no such group.", Returns: "list of names or nil", Example: `local m = user.group_members("root")`, New: get("members")},
		{Name: "group_list", Summary: "List the groups of the host's own file.", Returns: "list of what group_get_info returns", Example: `local all = user.group_list()`, New: func() any { return &groupList{} }},
	}
}

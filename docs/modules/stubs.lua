---@meta
-- Written by sloth: what the Lua language server should know about its modules.

---@class file_ops.copy.args
---@field src? string File on the controller, relative to the .sloth file
---@field dest? string Where it goes; a folder, or a name ending in /, gets it under its own name
---@field path? string Where it goes; a folder, or a name ending in /, gets it under its own name
---@field name? string Where it goes; a folder, or a name ending in /, gets it under its own name
---@field content? string The content itself, instead of src; a secret is never shown
---@field remote_src? boolean Src is a file on the host
---@field follow? boolean Write through a link at dest instead of replacing it
---@field force? boolean False leaves a file that is there as it is
---@field mode? string|number Permissions: "0644", 0o644 or "u+x,go-w"; a file that is there keeps its own
---@field owner? string Name or number of the user it belongs to
---@field group? string Name or number of the group it belongs to
---@field backup? boolean Keep the old file beside the new one, as NAME.TIME~
---@field in_place? boolean Write into a file that is there instead of replacing it: for one that is mounted by itself, or whose other names must see the change; a crash in between leaves it half written
---@field unsafe_writes? boolean Write into a file that is there instead of replacing it: for one that is mounted by itself, or whose other names must see the change; a crash in between leaves it half written
---@field validate? string Command that must accept the new file before it takes its place; %s is its name ("nginx -t -c %s")

---@class file_ops.template.args
---@field src? string Template on the controller, relative to the .sloth file
---@field dest? string Where the result goes; a folder gets it under the template's name without .j2 or .tmpl
---@field path? string Where the result goes; a folder gets it under the template's name without .j2 or .tmpl
---@field name? string Where the result goes; a folder gets it under the template's name without .j2 or .tmpl
---@field vars? table Variables over those of the host
---@field engine? "jinja2"|"go" How it is written; by the file's name when not said
---@field follow? boolean Write through a link at dest instead of replacing it
---@field force? boolean False leaves a file that is there as it is
---@field mode? string|number Permissions: "0644", 0o644 or "u+x,go-w"; a file that is there keeps its own
---@field owner? string Name or number of the user it belongs to
---@field group? string Name or number of the group it belongs to
---@field backup? boolean Keep the old file beside the new one, as NAME.TIME~
---@field in_place? boolean Write into a file that is there instead of replacing it: for one that is mounted by itself, or whose other names must see the change; a crash in between leaves it half written
---@field unsafe_writes? boolean Write into a file that is there instead of replacing it: for one that is mounted by itself, or whose other names must see the change; a crash in between leaves it half written
---@field validate? string Command that must accept the new file before it takes its place; %s is its name ("nginx -t -c %s")

---@class file_ops.file.args
---@field path? string The file, folder or link
---@field dest? string The file, folder or link
---@field name? string The file, folder or link
---@field state? "file"|"present"|"absent"|"directory"|"link"|"hard"|"touch" What should be there; file: it is, and only its attributes change; present: an empty file is made where nothing is; directory: with all folders above it; link and hard: to src; touch: as present, and its time is now; absent: neither it nor what is below it
---@field src? string What a link leads to; relative to the link's own folder
---@field target? string What a link leads to; relative to the link's own folder
---@field recurse? boolean Give the attributes to everything below a folder too
---@field force? boolean Let a link take the place of a file or an empty folder, and lead to nothing
---@field follow? boolean Change attributes of what a link leads to, not of the link
---@field mode? string|number Permissions: "0644", 0o644 or "u+x,go-w"; a file that is there keeps its own
---@field owner? string Name or number of the user it belongs to
---@field group? string Name or number of the group it belongs to

---@class file_ops.lineinfile.args
---@field path? string The file to change
---@field dest? string The file to change
---@field destfile? string The file to change
---@field name? string The file to change
---@field line? string The line as it should be, without its end
---@field value? string The line as it should be, without its end
---@field regexp? string Which line it replaces: the last match; with state = "absent" all matches go. Go's syntax (RE2)
---@field regex? string Which line it replaces: the last match; with state = "absent" all matches go. Go's syntax (RE2)
---@field search_string? string Text to look for instead of regexp
---@field state? "present"|"absent" Whether the line must be there
---@field insertafter? string Where a new line goes: after the last match of this regular expression, or EOF (so when not said)
---@field insert_after? string Where a new line goes: after the last match of this regular expression, or EOF (so when not said)
---@field insertbefore? string Where a new line goes: before the last match of this regular expression, or BOF
---@field insert_before? string Where a new line goes: before the last match of this regular expression, or BOF
---@field firstmatch? boolean Take the first match instead of the last
---@field first_match? boolean Take the first match instead of the last
---@field backrefs? boolean Fill \1 and \g<name> in line from regexp; without a match the file stays as it is
---@field create? boolean Make the file when it does not exist
---@field mode? string|number Permissions: "0644", 0o644 or "u+x,go-w"; a file that is there keeps its own
---@field owner? string Name or number of the user it belongs to
---@field group? string Name or number of the group it belongs to
---@field backup? boolean Keep the old file beside the new one, as NAME.TIME~
---@field in_place? boolean Write into a file that is there instead of replacing it: for one that is mounted by itself, or whose other names must see the change; a crash in between leaves it half written
---@field unsafe_writes? boolean Write into a file that is there instead of replacing it: for one that is mounted by itself, or whose other names must see the change; a crash in between leaves it half written
---@field validate? string Command that must accept the new file before it takes its place; %s is its name ("nginx -t -c %s")

---@class file_ops.blockinfile.args
---@field path? string The file to change
---@field dest? string The file to change
---@field destfile? string The file to change
---@field name? string The file to change
---@field block? string The lines between the markers; none removes the block
---@field content? string The lines between the markers; none removes the block
---@field state? "present"|"absent" Whether the block must be there
---@field marker? string The marker lines; {mark} stands for marker_begin or marker_end. A second block in a file needs another marker
---@field marker_begin? string What {mark} is above the block
---@field marker_end? string What {mark} is below the block
---@field insertafter? string Where a new block goes: after the last match of this regular expression, or EOF (so when not said)
---@field insert_after? string Where a new block goes: after the last match of this regular expression, or EOF (so when not said)
---@field insertbefore? string Where a new block goes: before the last match of this regular expression, or BOF
---@field insert_before? string Where a new block goes: before the last match of this regular expression, or BOF
---@field create? boolean Make the file when it does not exist
---@field mode? string|number Permissions: "0644", 0o644 or "u+x,go-w"; a file that is there keeps its own
---@field owner? string Name or number of the user it belongs to
---@field group? string Name or number of the group it belongs to
---@field backup? boolean Keep the old file beside the new one, as NAME.TIME~
---@field in_place? boolean Write into a file that is there instead of replacing it: for one that is mounted by itself, or whose other names must see the change; a crash in between leaves it half written
---@field unsafe_writes? boolean Write into a file that is there instead of replacing it: for one that is mounted by itself, or whose other names must see the change; a crash in between leaves it half written
---@field validate? string Command that must accept the new file before it takes its place; %s is its name ("nginx -t -c %s")

---@class file_ops.replace.args
---@field path? string The file to change
---@field dest? string The file to change
---@field destfile? string The file to change
---@field name? string The file to change
---@field regexp? string What to look for; ^ and $ match at every line. Go's syntax (RE2)
---@field regex? string What to look for; ^ and $ match at every line. Go's syntax (RE2)
---@field replace? string What to put there; \1 and \g<name> are groups of regexp. Nothing removes the match
---@field with? string What to put there; \1 and \g<name> are groups of regexp. Nothing removes the match
---@field after? string Only after what this regular expression matches
---@field before? string Only before what this regular expression matches
---@field mode? string|number Permissions: "0644", 0o644 or "u+x,go-w"; a file that is there keeps its own
---@field owner? string Name or number of the user it belongs to
---@field group? string Name or number of the group it belongs to
---@field backup? boolean Keep the old file beside the new one, as NAME.TIME~
---@field in_place? boolean Write into a file that is there instead of replacing it: for one that is mounted by itself, or whose other names must see the change; a crash in between leaves it half written
---@field unsafe_writes? boolean Write into a file that is there instead of replacing it: for one that is mounted by itself, or whose other names must see the change; a crash in between leaves it half written
---@field validate? string Command that must accept the new file before it takes its place; %s is its name ("nginx -t -c %s")

---@class file_ops.stat.args
---@field path? string The file, folder or link
---@field dest? string The file, folder or link
---@field name? string The file, folder or link
---@field follow? boolean Describe what a link leads to
---@field checksum? boolean Hash the content too (SHA-256)
---@field get_checksum? boolean Hash the content too (SHA-256)

---@class file_ops.sync.args
---@field src? string Folder on the controller, relative to the .sloth file; what is in it goes into dest
---@field dest? string Folder on the host; it is made when it does not exist
---@field path? string Folder on the host; it is made when it does not exist
---@field delete? boolean Remove what dest has and src has not
---@field exclude? string[]|string Names or patterns to leave alone on both sides: *.log anywhere, cache/** at the top
---@field mode? string|number Permissions of files; those on the controller when not said
---@field file_mode? string|number Permissions of files; those on the controller when not said
---@field dir_mode? string|number Permissions of folders; those on the controller when not said
---@field directory_mode? string|number Permissions of folders; those on the controller when not said
---@field owner? string Name or number of the user everything belongs to
---@field group? string Name or number of the group everything belongs to

---@class file_ops.fetch.args
---@field src? string File on the host, or a folder with all files below it
---@field path? string File on the host, or a folder with all files below it
---@field dest? string Folder on the controller, relative to the .sloth file and below its folder: the file becomes DEST/HOST/PATH. It must stand literally in the task
---@field flat? boolean Dest is the file itself, or, with a slash at its end, the folder for it; for one file only
---@field exclude? string[]|string Names or patterns of what to leave out of a folder
---@field fail_on_missing? boolean False: it is no error when src does not exist

---@class file_ops.unarchive.args
---@field src? string The archive on the controller, relative to the .sloth file: tar, tar.gz, tar.xz, tar.zst or zip, told apart by content
---@field dest? string Folder on the host that it is unpacked into; it is made when it does not exist
---@field path? string Folder on the host that it is unpacked into; it is made when it does not exist
---@field remote_src? boolean Src is a file on the host
---@field creates? string Do nothing when this is there
---@field include? string[]|string Names or patterns of what to unpack; everything when not said
---@field exclude? string[]|string Names or patterns of what not to unpack: *.log anywhere, docs/** at the top
---@field strip_components? integer How many folders to take away from the front of each name
---@field strip? integer How many folders to take away from the front of each name
---@field keep_newer? boolean Leave files alone that are newer than those in the archive
---@field keep_owner? boolean Give files the owner and group the archive names, by name if the host knows it, else by number; when not said they belong to whoever unpacks
---@field outside_links? boolean Take symbolic links that lead out of dest too; nothing is written through them
---@field max_size? integer How many bytes all files together may have, unpacked
---@field mode? string|number Permissions of files; those in the archive when not said, without setuid
---@field dir_mode? string|number Permissions of folders; those in the archive when not said
---@field directory_mode? string|number Permissions of folders; those in the archive when not said
---@field owner? string Name or number of the user everything belongs to
---@field group? string Name or number of the group everything belongs to

---@class file_ops.archive.args
---@field path? string[]|string What to put into it: files, folders, patterns; of a name that ends in / what is in the folder
---@field paths? string[]|string What to put into it: files, folders, patterns; of a name that ends in / what is in the folder
---@field src? string[]|string What to put into it: files, folders, patterns; of a name that ends in / what is in the folder
---@field dest? string The archive
---@field name? string The archive
---@field format? "tar"|"tar.gz"|"gz"|"tar.xz"|"xz"|"tar.zst"|"zst"|"zip" What it should be; when not said, what the name of dest says, else tar.gz. xz and zst need the program of that name on the host
---@field exclude? string[]|string Paths, names or patterns to leave out
---@field exclude_path? string[]|string Paths, names or patterns to leave out
---@field exclusion_patterns? string[]|string Paths, names or patterns to leave out
---@field remove? boolean Remove what was put into the archive
---@field mode? string|number Permissions: "0644", 0o644 or "u+x,go-w"; a file that is there keeps its own
---@field owner? string Name or number of the user it belongs to
---@field group? string Name or number of the group it belongs to

---Files, folders and links as they should be, replaced whole or not at all.
---@class file_opslib
file_ops = {}

---Give a host a file with this content.
---
---    file_ops.copy({ content = "hello\n", dest = "/etc/motd", mode = "0644" })
---@param src? string|file_ops.copy.args File on the controller, relative to the .sloth file
---@param dest? string Where it goes; a folder, or a name ending in /, gets it under its own name
---@param args? file_ops.copy.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function file_ops.copy(src, dest, args) end

---Render a template of the controller into a file on the host.
---
---    file_ops.template({ src = "site.conf.j2", dest = "/etc/site.conf", vars = { port = 8080 } })
---@param src string|file_ops.template.args Template on the controller, relative to the .sloth file
---@param dest? string Where the result goes; a folder gets it under the template's name without .j2 or .tmpl
---@param vars? table Variables over those of the host
---@param args? file_ops.template.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function file_ops.template(src, dest, vars, args) end

---Make a file, folder or link exist, not exist, or have these attributes.
---
---    file_ops.file({ path = "/srv/app/shared", state = "directory", mode = "0755" })
---@param path string|file_ops.file.args The file, folder or link
---@param args? file_ops.file.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function file_ops.file(path, args) end

---Make one line of a file be there, or not.
---
---    file_ops.lineinfile({ path = "/etc/app.conf", regexp = "^port=", line = "port=80", create = true })
---@param path string|file_ops.lineinfile.args The file to change
---@param line? string The line as it should be, without its end
---@param args? file_ops.lineinfile.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function file_ops.lineinfile(path, line, args) end

---Keep a block of lines in a file, between two marker lines.
---
---    file_ops.blockinfile({ path = "/etc/hosts", block = "10.0.0.5 db\n10.0.0.6 cache" })
---@param path string|file_ops.blockinfile.args The file to change
---@param block? string The lines between the markers; none removes the block
---@param args? file_ops.blockinfile.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function file_ops.blockinfile(path, block, args) end

---Replace what a regular expression matches, everywhere in a file.
---
---    file_ops.replace({ path = "/etc/app.conf", regexp = "debug=\\w+", replace = "debug=off" })
---@param path string|file_ops.replace.args The file to change
---@param regexp? string What to look for; ^ and $ match at every line. Go's syntax (RE2)
---@param replace? string What to put there; \1 and \g<name> are groups of regexp. Nothing removes the match
---@param args? file_ops.replace.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function file_ops.replace(path, regexp, replace, args) end

---Describe a file.
---
---    local st = file_ops.stat("/etc/hostname")
---@param path string|file_ops.stat.args The file, folder or link
---@param args? file_ops.stat.args
---@return any # {exists, path, type, size, mode, owner, group, uid, gid, mtime, inode, nlink, link, is_file, is_dir, is_link, checksum}
function file_ops.stat(path, args) end

---Make a folder of the host like one of the controller, sending only what differs.
---
---    file_ops.sync({ src = "site", dest = "/srv/site", delete = true })
---@param src string|file_ops.sync.args Folder on the controller, relative to the .sloth file; what is in it goes into dest
---@param dest? string Folder on the host; it is made when it does not exist
---@param args? file_ops.sync.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function file_ops.sync(src, dest, args) end

---Bring a file or folder of the host to the controller; what is there already is not sent.
---
---    file_ops.fetch({ src = "/etc/hostname", dest = "fetched" })
---@param src string|file_ops.fetch.args File on the host, or a folder with all files below it
---@param dest? string Folder on the controller, relative to the .sloth file and below its folder: the file becomes DEST/HOST/PATH. It must stand literally in the task
---@param args? file_ops.fetch.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function file_ops.fetch(src, dest, args) end

---Unpack an archive into a folder; only what differs is written.
---
---    file_ops.unarchive({ src = "app.tar.gz", dest = "/srv/app", strip_components = 1 })
---@param src string|file_ops.unarchive.args The archive on the controller, relative to the .sloth file: tar, tar.gz, tar.xz, tar.zst or zip, told apart by content
---@param dest? string Folder on the host that it is unpacked into; it is made when it does not exist
---@param args? file_ops.unarchive.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function file_ops.unarchive(src, dest, args) end

---Put files and folders of the host into an archive; written anew only when it would hold something else.
---
---    file_ops.archive({ path = "/srv/app", dest = "/srv/app.tar.gz", exclude = { "*.log" } })
---@param path string[]|string|file_ops.archive.args What to put into it: files, folders, patterns; of a name that ends in / what is in the folder
---@param dest? string The archive
---@param args? file_ops.archive.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function file_ops.archive(path, dest, args) end

---@class fs.stat.args
---@field path? string The file, folder or link; a link is described itself

---@class fs.read.args
---@field path? string The file, of at most 64 MB

---@class fs.write.args
---@field path? string The file
---@field dest? string The file
---@field content? string All that should be in it; a secret is never shown
---@field text? string All that should be in it; a secret is never shown
---@field data? string All that should be in it; a secret is never shown
---@field mode? string|number Permissions; a file that is there keeps its own

---@class fs.append.args
---@field path? string The file; it is made when it does not exist
---@field dest? string The file; it is made when it does not exist
---@field content? string What to add
---@field text? string What to add
---@field data? string What to add

---@class fs.exists.args
---@field path? string What to look for; links are followed

---@class fs.mkdir.args
---@field path? string The folder
---@field mode? string|number Permissions of every folder that is made; 0755 when not said

---@class fs.rm.args
---@field path? string What to remove; nothing happens when it does not exist
---@field recurse? boolean Remove a folder with everything below it

---@class fs.rmr.args
---@field path? string What to remove; nothing happens when it does not exist
---@field recurse? boolean Remove a folder with everything below it

---@class fs.ls.args
---@field path? string The folder

---@class fs.glob.args
---@field pattern? string Path with *, ? and [a-z], which match within one name; ** is any number of folders

---@class fs.tmpname.args
---@field prefix? string How the name begins

---@class fs.size.args
---@field path? string The file

---@class fs.copy.args
---@field src? string The file on the host
---@field from? string The file on the host
---@field dest? string The copy; a folder gets it under the same name
---@field to? string The copy; a folder gets it under the same name
---@field path? string The copy; a folder gets it under the same name
---@field mode? string|number Permissions; those of src when not said

---@class fs.move.args
---@field src? string What to move
---@field from? string What to move
---@field dest? string Its new name; a folder that exists takes it in under the same name
---@field to? string Its new name; a folder that exists takes it in under the same name
---@field path? string Its new name; a folder that exists takes it in under the same name
---@field force? boolean Replace a file that is at dest

---@class fs.symlink.args
---@field target? string What the link leads to; relative to the link's own folder, and it need not exist
---@field src? string What the link leads to; relative to the link's own folder, and it need not exist
---@field path? string The link; another link there is replaced, a file or folder is not
---@field dest? string The link; another link there is replaced, a file or folder is not
---@field link? string The link; another link there is replaced, a file or folder is not

---@class fs.basename.args
---@field path? string Any path

---@class fs.dirname.args
---@field path? string Any path

---@class fs.chmod.args
---@field path? string The file or folder; a link is followed
---@field mode? string|number Permissions: "0644", 0o644 or "u+x"
---@field recurse? boolean And everything below a folder

---@class fs.chown.args
---@field path? string The file or folder; a link is followed
---@field owner? string Name or number of the user; user:group sets both
---@field user? string Name or number of the user; user:group sets both
---@field group? string Name or number of the group
---@field recurse? boolean And everything below a folder

---Small file functions: read, write, list, move, with positional arguments.
---@class fslib
fs = {}

---Describe a file; nil when it does not exist.
---
---    local st = fs.stat("/etc/hostname")
---@param path string|fs.stat.args The file, folder or link; a link is described itself
---@return any # {path, name, type, size, mode, owner, group, mtime, is_file, is_dir, is_link, …} or nil
function fs.stat(path) end

---Return the content of a file.
---
---    local name = fs.read("/etc/hostname")
---@param path string|fs.read.args The file, of at most 64 MB
---@return any # text
function fs.read(path) end
fs.read_file = fs.read

---Give a file this content.
---
---    fs.write("/etc/motd", "hello\n", "0644")
---@param path string|fs.write.args The file
---@param content? string All that should be in it; a secret is never shown
---@param mode? string|number Permissions; a file that is there keeps its own
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function fs.write(path, content, mode) end
fs.write_file = fs.write

---Add text at the end of a file, at every call.
---
---    fs.append("/var/log/deploys", "deployed\n")
---@param path string|fs.append.args The file; it is made when it does not exist
---@param content? string What to add
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function fs.append(path, content) end

---Report whether something is at a path; a link that leads nowhere is not.
---
---    local yes = fs.exists("/etc/passwd")
---@param path string|fs.exists.args What to look for; links are followed
---@return any # boolean
function fs.exists(path) end

---Make a folder, with all folders above it.
---
---    fs.mkdir("/srv/app/releases", "0755")
---@param path string|fs.mkdir.args The folder
---@param mode? string|number Permissions of every folder that is made; 0755 when not said
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function fs.mkdir(path, mode) end

---Remove a file, a link or an empty folder.
---
---    fs.rm("/etc/motd.old")
---@param path string|fs.rm.args What to remove; nothing happens when it does not exist
---@param args? fs.rm.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function fs.rm(path, args) end

---Remove a folder and everything below it.
---
---    fs.rmr("/srv/app/old")
---@param path string|fs.rmr.args What to remove; nothing happens when it does not exist
---@param args? fs.rmr.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function fs.rmr(path, args) end

---Return the names in a folder, sorted.
---
---    local names = fs.ls("/etc")
---@param path string|fs.ls.args The folder
---@return any # list of names
function fs.ls(path) end

---Return the paths that match a pattern, sorted.
---
---    local found = fs.glob("/etc/*.conf")
---@param pattern string|fs.glob.args Path with *, ? and [a-z], which match within one name; ** is any number of folders
---@return any # list of paths
function fs.glob(pattern) end

---Return a path in the folder for temporary files where nothing is.
---
---    local path = fs.tmpname()
---@param prefix? string|fs.tmpname.args How the name begins
---@return any # path
function fs.tmpname(prefix) end

---Return the size of a file in bytes.
---
---    local bytes = fs.size("/etc/passwd")
---@param path string|fs.size.args The file
---@return any # number
function fs.size(path) end

---Copy a file of the host.
---
---    fs.copy("/etc/hostname", "/etc/hostname.bak")
---@param src string|fs.copy.args The file on the host
---@param dest? string The copy; a folder gets it under the same name
---@param mode? string|number Permissions; those of src when not said
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function fs.copy(src, dest, mode) end
fs.cp = fs.copy

---Give a file or folder another name; done when only the new name exists.
---
---    fs.move("/etc/motd", "/etc/motd.bak")
---@param src string|fs.move.args What to move
---@param dest? string Its new name; a folder that exists takes it in under the same name
---@param args? fs.move.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function fs.move(src, dest, args) end
fs.mv = fs.move
fs.rename = fs.move

---Make a symbolic link.
---
---    fs.symlink("/etc/hostname", "/srv/name")
---@param target string|fs.symlink.args What the link leads to; relative to the link's own folder, and it need not exist
---@param path? string The link; another link there is replaced, a file or folder is not
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function fs.symlink(target, path) end
fs.link = fs.symlink

---Return the last name of a path.
---
---    local name = fs.basename("/etc/hostname")
---@param path string|fs.basename.args Any path
---@return any # text
function fs.basename(path) end

---Return a path without its last name.
---
---    local dir = fs.dirname("/etc/hostname")
---@param path string|fs.dirname.args Any path
---@return any # text
function fs.dirname(path) end

---Change permissions.
---
---    fs.chmod("/etc/motd", "0600")
---@param path string|fs.chmod.args The file or folder; a link is followed
---@param mode? string|number Permissions: "0644", 0o644 or "u+x"
---@param args? fs.chmod.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function fs.chmod(path, mode, args) end

---Change owner and group.
---
---    fs.chown("/etc/motd", "nobody")
---@param path string|fs.chown.args The file or folder; a link is followed
---@param owner? string Name or number of the user; user:group sets both
---@param group? string Name or number of the group
---@param args? fs.chown.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function fs.chown(path, owner, group, args) end

---@class archive.create.args
---@field path? string[]|string What to put into it: files, folders, patterns; of a name that ends in / what is in the folder
---@field paths? string[]|string What to put into it: files, folders, patterns; of a name that ends in / what is in the folder
---@field src? string[]|string What to put into it: files, folders, patterns; of a name that ends in / what is in the folder
---@field dest? string The archive
---@field name? string The archive
---@field format? "tar"|"tar.gz"|"gz"|"tar.xz"|"xz"|"tar.zst"|"zst"|"zip" What it should be; when not said, what the name of dest says, else tar.gz. xz and zst need the program of that name on the host
---@field exclude? string[]|string Paths, names or patterns to leave out
---@field exclude_path? string[]|string Paths, names or patterns to leave out
---@field exclusion_patterns? string[]|string Paths, names or patterns to leave out
---@field remove? boolean Remove what was put into the archive
---@field mode? string|number Permissions: "0644", 0o644 or "u+x,go-w"; a file that is there keeps its own
---@field owner? string Name or number of the user it belongs to
---@field group? string Name or number of the group it belongs to

---@class archive.extract.args
---@field src? string The archive on the controller, relative to the .sloth file: tar, tar.gz, tar.xz, tar.zst or zip, told apart by content
---@field dest? string Folder on the host that it is unpacked into; it is made when it does not exist
---@field path? string Folder on the host that it is unpacked into; it is made when it does not exist
---@field remote_src? boolean Src is a file on the host
---@field creates? string Do nothing when this is there
---@field include? string[]|string Names or patterns of what to unpack; everything when not said
---@field exclude? string[]|string Names or patterns of what not to unpack: *.log anywhere, docs/** at the top
---@field strip_components? integer How many folders to take away from the front of each name
---@field strip? integer How many folders to take away from the front of each name
---@field keep_newer? boolean Leave files alone that are newer than those in the archive
---@field keep_owner? boolean Give files the owner and group the archive names, by name if the host knows it, else by number; when not said they belong to whoever unpacks
---@field outside_links? boolean Take symbolic links that lead out of dest too; nothing is written through them
---@field max_size? integer How many bytes all files together may have, unpacked
---@field mode? string|number Permissions of files; those in the archive when not said, without setuid
---@field dir_mode? string|number Permissions of folders; those in the archive when not said
---@field directory_mode? string|number Permissions of folders; those in the archive when not said
---@field owner? string Name or number of the user everything belongs to
---@field group? string Name or number of the group everything belongs to

---@class archive.list.args
---@field path? string The archive
---@field src? string The archive
---@field dest? string The archive
---@field include? string[]|string Names or patterns of what to list; everything when not said

---Archives: tar, tar.gz, tar.xz, tar.zst and zip, made, unpacked and listed.
---@class archivelib
archive = {}

---Put files and folders of the host into an archive; written anew only when it would hold something else.
---
---    archive.create({ path = "/srv/app", dest = "/srv/app.tar.gz", exclude = { "*.log" } })
---@param path string[]|string|archive.create.args What to put into it: files, folders, patterns; of a name that ends in / what is in the folder
---@param dest? string The archive
---@param args? archive.create.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function archive.create(path, dest, args) end

---Unpack an archive into a folder; only what differs is written.
---
---    archive.extract({ src = "app.tar.gz", dest = "/srv/app", strip_components = 1 })
---@param src string|archive.extract.args The archive on the controller, relative to the .sloth file: tar, tar.gz, tar.xz, tar.zst or zip, told apart by content
---@param dest? string Folder on the host that it is unpacked into; it is made when it does not exist
---@param args? archive.extract.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function archive.extract(src, dest, args) end

---Return what is in an archive of the host.
---
---    local list = archive.list("/srv/backup.tar")
---@param path string|archive.list.args The archive
---@param include? string[]|string Names or patterns of what to list; everything when not said
---@return any # list of {name, type, size, mode, uid, gid, owner, group, mtime, link}
function archive.list(path, include) end

---@class exec.run.args
---@field cmd? string Command for the shell
---@field command? string Command for the shell
---@field argv? string[]|string Program and arguments, instead of cmd: no shell, no quoting
---@field workdir? string Folder to run in; by default the task's
---@field cwd? string Folder to run in; by default the task's
---@field chdir? string Folder to run in; by default the task's
---@field dir? string Folder to run in; by default the task's
---@field env? table<string, string> Variables on top of the inherited environment and the task's
---@field stdin? string What the command reads; nothing by default
---@field input? string What the command reads; nothing by default
---@field timeout? string|number Kills the command and everything it started after this long
---@field user? string Runs as this user, which only root can
---@field as? string Runs as this user, which only root can
---@field shell? string Shell that reads the command, called with -c; for scripts the interpreter
---@field creates? string Does nothing when this path exists
---@field removes? string Does nothing when this path does not exist
---@field unless? string Does nothing when this command succeeds; it is asked under plan too and must change nothing
---@field only_if? string Does nothing when this command fails; it is asked under plan too and must change nothing
---@field onlyif? string Does nothing when this command fails; it is asked under plan too and must change nothing
---@field secret? boolean What the command prints is secret: it is not shown, and stdout and stderr are given as secrets, without the last line break
---@field check_safe? boolean The command changes nothing: it runs under plan too and counts as unchanged

---@class exec.script.args
---@field path? string Script, relative to the .sloth file
---@field src? string Script, relative to the .sloth file
---@field script? string Script, relative to the .sloth file
---@field args? string[]|string Arguments of the script
---@field workdir? string Folder to run in; by default the task's
---@field cwd? string Folder to run in; by default the task's
---@field chdir? string Folder to run in; by default the task's
---@field dir? string Folder to run in; by default the task's
---@field env? table<string, string> Variables on top of the inherited environment and the task's
---@field stdin? string What the command reads; nothing by default
---@field input? string What the command reads; nothing by default
---@field timeout? string|number Kills the command and everything it started after this long
---@field user? string Runs as this user, which only root can
---@field as? string Runs as this user, which only root can
---@field shell? string Shell that reads the command, called with -c; for scripts the interpreter
---@field creates? string Does nothing when this path exists
---@field removes? string Does nothing when this path does not exist
---@field unless? string Does nothing when this command succeeds; it is asked under plan too and must change nothing
---@field only_if? string Does nothing when this command fails; it is asked under plan too and must change nothing
---@field onlyif? string Does nothing when this command fails; it is asked under plan too and must change nothing
---@field secret? boolean What the command prints is secret: it is not shown, and stdout and stderr are given as secrets, without the last line break
---@field check_safe? boolean The command changes nothing: it runs under plan too and counts as unchanged

---Run commands and scripts; never raises, the result says how it went.
---@class execlib
exec = {}

---Run a command through the shell and wait for it.
---
---    local r = exec.run("uname -s", { timeout = "10s" })
---@param cmd? string|exec.run.args Command for the shell
---@param args? exec.run.args
---@return any # {stdout, stderr, exit_code, success, error, changed, duration}
function exec.run(cmd, args) end

---Run a script that lies beside the .sloth file.
---
---    local r = exec.script("scripts/setup.sh", { args = { "--quiet" } })
---@param path string|exec.script.args Script, relative to the .sloth file
---@param args? exec.script.args
---@return any # {stdout, stderr, exit_code, success, error, changed, duration}
function exec.script(path, args) end

---@class pkg.install.args
---@field name? string[]|string The packages; NAME=VERSION asks for that version
---@field names? string[]|string The packages; NAME=VERSION asks for that version
---@field package? string[]|string The packages; NAME=VERSION asks for that version
---@field packages? string[]|string The packages; NAME=VERSION asks for that version
---@field version? string Version wanted: a whole one, its first parts with a * after them, "latest" for the newest, or "present" for any
---@field state? "present"|"installed"|"latest"|"absent"|"removed" Another way to ask for the newest version, or for the packages to be gone
---@field update_cache? boolean Refresh the lists first when they are older than cache_age, also when they know the packages
---@field cache_age? string|number How old lists may be before they are refreshed, where that is asked for or a package is in none of them
---@field cache_valid_time? string|number How old lists may be before they are refreshed, where that is asked for or a package is in none of them
---@field lock_timeout? string|number How long to wait while another process holds the package manager's lock

---@class pkg.remove.args
---@field name? string[]|string The packages
---@field names? string[]|string The packages
---@field package? string[]|string The packages
---@field packages? string[]|string The packages
---@field purge? boolean Remove their configuration files too
---@field lock_timeout? string|number How long to wait while another process holds the package manager's lock

---@class pkg.update.args
---@field cache_age? string|number How old the lists may be without being refreshed; without it they always are
---@field cache_valid_time? string|number How old the lists may be without being refreshed; without it they always are
---@field lock_timeout? string|number How long to wait while another process holds the package manager's lock

---@class pkg.upgrade.args
---@field name? string[]|string The packages; all that are installed without it
---@field names? string[]|string The packages; all that are installed without it
---@field package? string[]|string The packages; all that are installed without it
---@field packages? string[]|string The packages; all that are installed without it
---@field lock_timeout? string|number How long to wait while another process holds the package manager's lock

---@class pkg.clean.args
---@field lock_timeout? string|number How long to wait while another process holds the package manager's lock

---@class pkg.autoremove.args
---@field lock_timeout? string|number How long to wait while another process holds the package manager's lock

---@class pkg.install_local.args
---@field path? string The package file on the host
---@field src? string The package file on the host
---@field file? string The package file on the host
---@field name? string The package file on the host
---@field lock_timeout? string|number How long to wait while another process holds the package manager's lock

---@class pkg.hold.args
---@field name? string[]|string The packages
---@field names? string[]|string The packages
---@field package? string[]|string The packages
---@field packages? string[]|string The packages
---@field lock_timeout? string|number How long to wait while another process holds the package manager's lock

---@class pkg.unhold.args
---@field name? string[]|string The packages
---@field names? string[]|string The packages
---@field package? string[]|string The packages
---@field packages? string[]|string The packages
---@field lock_timeout? string|number How long to wait while another process holds the package manager's lock

---@class pkg.search.args
---@field text? string What to look for in names and descriptions
---@field query? string What to look for in names and descriptions
---@field name? string What to look for in names and descriptions

---@class pkg.info.args
---@field name? string The package
---@field package? string The package

---@class pkg.is_installed.args
---@field name? string The package
---@field package? string The package

---@class pkg.version.args
---@field name? string The package
---@field package? string The package

---@class pkg.which.args
---@field path? string Absolute path of a file, or the name of a program
---@field file? string Absolute path of a file, or the name of a program
---@field name? string Absolute path of a file, or the name of a program

---@class pkg.deps.args
---@field name? string The package
---@field package? string The package

---Install, remove and look up packages with the host's package manager; raises when it fails.
---@class pkglib
---@overload fun(args: pkg.install.args): any
pkg = {}

---Install packages, all in one transaction; lists that lack one of them and are old are refreshed first.
---
---    pkg.install({ "nginx", "curl" })
---@param name string[]|string|pkg.install.args The packages; NAME=VERSION asks for that version
---@param args? pkg.install.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function pkg.install(name, args) end

---Remove packages.
---
---    pkg.remove("telnet")
---@param name string[]|string|pkg.remove.args The packages
---@param args? pkg.remove.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function pkg.remove(name, args) end
pkg.uninstall = pkg.remove

---Refresh the lists of what can be installed.
---
---    pkg.update()
---@param cache_age? string|number|pkg.update.args How old the lists may be without being refreshed; without it they always are
---@param args? pkg.update.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function pkg.update(cache_age, args) end
pkg.update_cache = pkg.update
pkg.refresh = pkg.update

---Bring packages, or all that are installed, to the newest version known.
---
---    pkg.upgrade("openssl")
---@param name? string[]|string|pkg.upgrade.args The packages; all that are installed without it
---@param args? pkg.upgrade.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function pkg.upgrade(name, args) end

---Remove downloaded package files.
---
---    pkg.clean()
---@param args? pkg.clean.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function pkg.clean(args) end

---Remove packages that were installed for others and that nothing needs any more.
---
---    pkg.autoremove()
---@param args? pkg.autoremove.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function pkg.autoremove(args) end

---Install a package file that is on the host, with what it depends on.
---
---    pkg.install_local("/tmp/app_1.0_all.deb")
---@param path string|pkg.install_local.args The package file on the host
---@param args? pkg.install_local.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function pkg.install_local(path, args) end

---Keep packages at the version they have, whatever is upgraded.
---
---    pkg.hold("openssl")
---@param name string[]|string|pkg.hold.args The packages
---@param args? pkg.hold.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function pkg.hold(name, args) end

---Undo hold.
---
---    pkg.unhold("curl")
---@param name string[]|string|pkg.unhold.args The packages
---@param args? pkg.unhold.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function pkg.unhold(name, args) end

---Find packages by name and description.
---
---    local ok, found = pcall(pkg.search, "nginx")
---@param text string|pkg.search.args What to look for in names and descriptions
---@return any # list of {name, description}
function pkg.search(text) end

---Describe a package; nil when neither host nor lists know it.
---
---    local ok, i = pcall(pkg.info, "bash")
---@param name string|pkg.info.args The package
---@return any # {name, installed, version, candidate, description, …} or nil
function pkg.info(name) end

---List the installed packages.
---
---    local ok, all = pcall(pkg.list)
---@return any # list of {name, version}
function pkg.list() end

---Tell whether a package is installed.
---
---    local ok, yes = pcall(pkg.is_installed, "bash")
---@param name string|pkg.is_installed.args The package
---@return any # boolean
function pkg.is_installed(name) end

---Return the installed version of a package, or nil.
---
---    local ok, v = pcall(pkg.version, "bash")
---@param name string|pkg.version.args The package
---@return any # text or nil
function pkg.version(name) end

---Return the name of the package manager, or nil where there is none.
---
---    local name = pkg.get_manager()
---@return any # "apt", "dnf", "yum", "zypper", "pacman", "apk", "brew" or nil
function pkg.get_manager() end

---Return the package that a file or program belongs to, or nil.
---
---    local ok, p = pcall(pkg.which, "/bin/sh")
---@param path string|pkg.which.args Absolute path of a file, or the name of a program
---@return any # text or nil
function pkg.which(path) end

---List what a package depends on.
---
---    local ok, d = pcall(pkg.deps, "bash")
---@param name string|pkg.deps.args The package
---@return any # list of text
function pkg.deps(name) end
pkg.dependencies = pkg.deps

---@class repo.apt.args
---@field line? string The repository as one line ("deb [signed-by=…] URI SUITE COMPONENT"), instead of uris, suites and components
---@field repo? string The repository as one line ("deb [signed-by=…] URI SUITE COMPONENT"), instead of uris, suites and components
---@field name? string Name of its file below /etc/apt/sources.list.d; a line has one of its own, made of the address
---@field uris? string[]|string Where it is
---@field uri? string[]|string Where it is
---@field url? string[]|string Where it is
---@field suites? string[]|string Distributions, such as "bookworm", or folders that end in /
---@field suite? string[]|string Distributions, such as "bookworm", or folders that end in /
---@field components? string[]|string Parts of the distribution; a suite that is a folder has none
---@field component? string[]|string Parts of the distribution; a suite that is a folder has none
---@field types? string[]|string What is taken from it: deb, deb-src or both
---@field type? string[]|string What is taken from it: deb, deb-src or both
---@field architectures? string[]|string Architectures that are taken from it; without it those of the host
---@field architecture? string[]|string Architectures that are taken from it; without it those of the host
---@field arch? string[]|string Architectures that are taken from it; without it those of the host
---@field key? string Key it is signed with: the armored text, a file of the controller beside the .sloth file, an absolute path on the host, or an address together with key_sha256
---@field signed_by? string Key it is signed with: the armored text, a file of the controller beside the .sloth file, an absolute path on the host, or an address together with key_sha256
---@field key_sha256? string SHA-256 of the key at the address, in hex
---@field sha256? string SHA-256 of the key at the address, in hex
---@field key_sum? string SHA-256 of the key at the address, in hex
---@field enabled? boolean Whether apt looks into it
---@field options? table<string, string> Further fields, such as { ["Check-Valid-Until"] = "no" }
---@field state? "present"|"absent" Whether it must be there
---@field update_cache? boolean Bring the lists of packages up to date when something changed; when that fails, what was written is taken back

---@class repo.dnf.args
---@field name? string Name of the repository: the section, and its file unless file says another
---@field id? string Name of the repository: the section, and its file unless file says another
---@field description? string What people read of it; the name without it
---@field summary? string What people read of it; the name without it
---@field baseurl? string[]|string Where it is
---@field url? string[]|string Where it is
---@field mirrorlist? string Address of a list of places instead
---@field metalink? string Address of a metalink instead
---@field enabled? boolean Whether it is looked into; it is without this
---@field gpgcheck? boolean Whether packages must be signed
---@field repo_gpgcheck? boolean Whether the lists must be signed
---@field gpgkey? string[]|string Addresses of the keys, which the package manager fetches itself, instead of key
---@field key? string Key it is signed with: the armored text, a file of the controller beside the .sloth file, an absolute path on the host, or an address together with key_sha256
---@field signed_by? string Key it is signed with: the armored text, a file of the controller beside the .sloth file, an absolute path on the host, or an address together with key_sha256
---@field key_sha256? string SHA-256 of the key at the address, in hex
---@field sha256? string SHA-256 of the key at the address, in hex
---@field key_sum? string SHA-256 of the key at the address, in hex
---@field priority? integer Its priority; lower numbers come first
---@field exclude? string[]|string Packages that are not taken from it
---@field excludepkgs? string[]|string Packages that are not taken from it
---@field options? table<string, string> Further settings, such as { sslverify = "1" }
---@field file? string Name of the file without .repo; several repositories may share one
---@field state? "present"|"absent" Whether it must be there
---@field update_cache? boolean Bring the lists of packages up to date when something changed; when that fails, what was written is taken back

---@class repo.zypper.args
---@field name? string Name of the repository: the section, and its file unless file says another
---@field id? string Name of the repository: the section, and its file unless file says another
---@field description? string What people read of it; the name without it
---@field summary? string What people read of it; the name without it
---@field baseurl? string[]|string Where it is
---@field url? string[]|string Where it is
---@field mirrorlist? string Address of a list of places instead
---@field metalink? string Address of a metalink instead
---@field enabled? boolean Whether it is looked into; it is without this
---@field gpgcheck? boolean Whether packages must be signed
---@field repo_gpgcheck? boolean Whether the lists must be signed
---@field gpgkey? string[]|string Addresses of the keys, which the package manager fetches itself, instead of key
---@field key? string Key it is signed with: the armored text, a file of the controller beside the .sloth file, an absolute path on the host, or an address together with key_sha256
---@field signed_by? string Key it is signed with: the armored text, a file of the controller beside the .sloth file, an absolute path on the host, or an address together with key_sha256
---@field key_sha256? string SHA-256 of the key at the address, in hex
---@field sha256? string SHA-256 of the key at the address, in hex
---@field key_sum? string SHA-256 of the key at the address, in hex
---@field priority? integer Its priority; lower numbers come first
---@field exclude? string[]|string Packages that are not taken from it
---@field excludepkgs? string[]|string Packages that are not taken from it
---@field options? table<string, string> Further settings, such as { sslverify = "1" }
---@field file? string Name of the file without .repo; several repositories may share one
---@field state? "present"|"absent" Whether it must be there
---@field update_cache? boolean Bring the lists of packages up to date when something changed; when that fails, what was written is taken back

---@class repo.add.args
---@field name? string Name of the repository
---@field url? string[]|string Where it is
---@field uris? string[]|string Where it is
---@field baseurl? string[]|string Where it is
---@field suites? string[]|string For apt: its distributions; without it that of the host
---@field suite? string[]|string For apt: its distributions; without it that of the host
---@field components? string[]|string For apt: parts of the distribution; main without it
---@field component? string[]|string For apt: parts of the distribution; main without it
---@field key? string Key it is signed with: the armored text, a file of the controller beside the .sloth file, an absolute path on the host, or an address together with key_sha256
---@field signed_by? string Key it is signed with: the armored text, a file of the controller beside the .sloth file, an absolute path on the host, or an address together with key_sha256
---@field key_sha256? string SHA-256 of the key at the address, in hex
---@field sha256? string SHA-256 of the key at the address, in hex
---@field key_sum? string SHA-256 of the key at the address, in hex
---@field enabled? boolean Whether it is looked into
---@field update_cache? boolean Bring the lists of packages up to date when something changed; when that fails, what was written is taken back

---@class repo.remove.args
---@field name? string Name of the repository
---@field update_cache? boolean Bring the lists of packages up to date when something changed; when that fails, what was written is taken back

---Repositories of packages and their keys; a change that leaves the package manager without its lists is undone.
---@class repolib
repo = {}

---Bring a repository of apt and its key about, or do away with them.
---
---    repo.apt({ name = "tools", uris = "https://deb.example.com", suites = "bookworm", components = "main" })
---@param line? string|repo.apt.args The repository as one line ("deb [signed-by=…] URI SUITE COMPONENT"), instead of uris, suites and components
---@param args? repo.apt.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function repo.apt(line, args) end

---Bring a repository of dnf or yum about, or do away with it.
---
---    repo.dnf({ name = "tools", baseurl = "https://rpm.example.com/9/$basearch", gpgkey = "https://rpm.example.com/KEY" })
---@param name string|repo.dnf.args Name of the repository: the section, and its file unless file says another
---@param args? repo.dnf.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function repo.dnf(name, args) end
repo.yum = repo.dnf

---Bring a repository of zypper about, or do away with it.
---
---    repo.zypper({ name = "tools", baseurl = "https://rpm.example.com/suse", gpgkey = "https://rpm.example.com/KEY" })
---@param name string|repo.zypper.args Name of the repository: the section, and its file unless file says another
---@param args? repo.zypper.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function repo.zypper(name, args) end

---Bring a repository about, in the form that the host's package manager has.
---
---    repo.add("tools", "https://deb.example.com", { suites = "bookworm" })
---@param name string|repo.add.args Name of the repository
---@param url? string[]|string Where it is
---@param args? repo.add.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function repo.add(name, url, args) end

---Do away with a repository, and with its key where nothing else needs it.
---
---    repo.remove("old-tools")
---@param name string|repo.remove.args Name of the repository
---@param args? repo.remove.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function repo.remove(name, args) end

---List the repositories that the host's package manager is told of.
---
---    local all = repo.list()
---@return any # list of {name, file, enabled, uris, key, …}: of apt also types, suites, components, architectures
function repo.list() end

---@class pip.install.args
---@field name? string[]|string The packages: "django", "django==4.2", "django>=4,<5", "NAME @ ADDRESS"
---@field names? string[]|string The packages: "django", "django==4.2", "django>=4,<5", "NAME @ ADDRESS"
---@field package? string[]|string The packages: "django", "django==4.2", "django>=4,<5", "NAME @ ADDRESS"
---@field packages? string[]|string The packages: "django", "django==4.2", "django>=4,<5", "NAME @ ADDRESS"
---@field version? string Version of the one package that is named: "4.2", or a wish such as ">=4,<5"
---@field requirements? string File of the host that lists packages; a relative one begins at chdir
---@field requirement? string File of the host that lists packages; a relative one begins at chdir
---@field virtualenv? string Folder of the virtual environment; without it the packages are those of the system
---@field venv? string Folder of the virtual environment; without it the packages are those of the system
---@field executable? string The pip to use instead of pip3, such as "pip3.11"
---@field chdir? string Folder that pip runs in; a relative virtualenv begins there
---@field virtualenv_command? string Command that makes the environment when it is missing
---@field virtualenv_site_packages? boolean Let a new environment see the packages of the system
---@field state? "present"|"latest"|"absent" Whether the packages must be there, or be the newest there are, for which the index is asked
---@field extra_args? string[]|string Further arguments of pip, a line or a list: "--index-url https://pypi.example.com/simple"
---@field break_system_packages? boolean Change the system's own Python although its packages belong to the package manager

---@class pip.remove.args
---@field name? string[]|string The packages
---@field names? string[]|string The packages
---@field package? string[]|string The packages
---@field packages? string[]|string The packages
---@field virtualenv? string Folder of the virtual environment; without it the packages are those of the system
---@field venv? string Folder of the virtual environment; without it the packages are those of the system
---@field executable? string The pip to use instead of pip3, such as "pip3.11"
---@field chdir? string Folder that pip runs in; a relative virtualenv begins there
---@field break_system_packages? boolean Change the system's own Python although its packages belong to the package manager

---@class pip.list.args
---@field virtualenv? string Folder of the virtual environment; without it the packages are those of the system
---@field venv? string Folder of the virtual environment; without it the packages are those of the system
---@field executable? string The pip to use instead of pip3, such as "pip3.11"
---@field chdir? string Folder that pip runs in; a relative virtualenv begins there

---Packages of Python; what is installed is read from the host, so that only a change needs the network.
---@class piplib
pip = {}

---Bring packages into the state described, and the virtual environment into being.
---
---    pip.install({ name = "gunicorn==21.2.0", virtualenv = "/srv/app/venv" })
---@param name? string[]|string|pip.install.args The packages: "django", "django==4.2", "django>=4,<5", "NAME @ ADDRESS"
---@param args? pip.install.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function pip.install(name, args) end
pip.package = pip.install

---Remove packages.
---
---    pip.remove({ name = "flask", virtualenv = "/srv/old/venv" })
---@param name string[]|string|pip.remove.args The packages
---@param args? pip.remove.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function pip.remove(name, args) end
pip.uninstall = pip.remove

---List the packages that are installed.
---
---    local all = pip.list({ virtualenv = "/srv/app/venv" })
---@param args? pip.list.args
---@return any # list of {name, version}
function pip.list(args) end

---@class npm.install.args
---@field name? string The package; without it all that the package.json of the project lists
---@field package? string The package; without it all that the package.json of the project lists
---@field version? string Version, range ("^4.18") or tag ("next") of the package
---@field path? string Folder of the project
---@field global? boolean For the whole host instead of a project
---@field executable? string The npm to use, such as "/opt/node/bin/npm"
---@field production? boolean Leave out what is needed only for development
---@field state? "present"|"latest"|"absent" Whether the package must be there, or be the newest there is, for which the registry is asked
---@field registry? string Address of the registry to use
---@field ci? boolean Install exactly what package-lock.json says, with npm ci
---@field ignore_scripts? boolean Run no scripts that packages bring

---@class npm.remove.args
---@field name? string The package
---@field package? string The package
---@field path? string Folder of the project
---@field global? boolean For the whole host instead of a project
---@field executable? string The npm to use, such as "/opt/node/bin/npm"

---@class npm.list.args
---@field path? string Folder of the project
---@field global? boolean For the whole host instead of a project
---@field executable? string The npm to use, such as "/opt/node/bin/npm"

---Packages of Node.js; what is installed is read from the host, so that only a change needs the network.
---@class npmlib
npm = {}

---Bring a package, or all that a package.json lists, into the state described.
---
---    npm.install({ name = "express", version = "4.18.2", path = "/srv/shop" })
---@param name? string|npm.install.args The package; without it all that the package.json of the project lists
---@param args? npm.install.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function npm.install(name, args) end
npm.package = npm.install

---Remove a package.
---
---    npm.remove({ name = "left-pad", path = "/srv/shop" })
---@param name string|npm.remove.args The package
---@param args? npm.remove.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function npm.remove(name, args) end
npm.uninstall = npm.remove

---List the packages that are installed at the top of a project, or for the whole host.
---
---    local all = npm.list({ path = "/srv/shop" })
---@param args? npm.list.args
---@return any # list of {name, version}
function npm.list(args) end

---@class user.create.args
---@field name? string Name of the user
---@field username? string Name of the user
---@field user? string Name of the user
---@field uid? integer Number of the user
---@field group? string Primary group, which must exist; without it a new user gets one of its own name
---@field gid? string Primary group, which must exist; without it a new user gets one of its own name
---@field primary_group? string Primary group, which must exist; without it a new user gets one of its own name
---@field groups? string[]|string Groups to be a member of besides the primary one; they must exist
---@field append? boolean Keep other memberships; false: groups is all of them
---@field home? string Home folder
---@field create_home? boolean Make the home folder of a new user
---@field createhome? boolean Make the home folder of a new user
---@field skeleton? string Folder whose files a new home gets, instead of /etc/skel
---@field skel? string Folder whose files a new home gets, instead of /etc/skel
---@field shell? string Login shell
---@field comment? string Comment, often the full name
---@field gecos? string Comment, often the full name
---@field full_name? string Comment, often the full name
---@field system? boolean Take the number of a new user from those of the system
---@field password? string Password as a crypt hash ($6$…), or as a secret in the clear
---@field update_password? "on_create"|"always" When a password in the clear is set: where there is none yet, or at every call
---@field expires? string Date such as "2030-12-31" from which on nobody can log in as the user, or "never"
---@field expiry? string Date such as "2030-12-31" from which on nobody can log in as the user, or "never"
---@field state? "present"|"absent" Whether the user must exist; absent is user.delete
---@field remove_home? boolean With state = "absent": remove the home folder and mail too
---@field remove? boolean With state = "absent": remove the home folder and mail too
---@field force? boolean With state = "absent": also while processes of the user run

---@class user.modify.args
---@field name? string Name of the user
---@field username? string Name of the user
---@field user? string Name of the user
---@field uid? integer Number of the user
---@field group? string Primary group, which must exist
---@field gid? string Primary group, which must exist
---@field primary_group? string Primary group, which must exist
---@field groups? string[]|string Groups to be a member of besides the primary one; they must exist
---@field append? boolean Keep other memberships; false: groups is all of them
---@field home? string Home folder
---@field move_home? boolean Move the old home folder there
---@field shell? string Login shell
---@field comment? string Comment, often the full name
---@field gecos? string Comment, often the full name
---@field full_name? string Comment, often the full name
---@field password? string Password as a crypt hash ($6$…), or as a secret in the clear
---@field update_password? "on_create"|"always" When a password in the clear is set: where there is none yet, or at every call
---@field expires? string Date such as "2030-12-31" from which on nobody can log in as the user, or "never"
---@field expiry? string Date such as "2030-12-31" from which on nobody can log in as the user, or "never"

---@class user.delete.args
---@field name? string Name of the user
---@field username? string Name of the user
---@field user? string Name of the user
---@field remove_home? boolean Remove the home folder and mail too
---@field remove? boolean Remove the home folder and mail too
---@field force? boolean Also while processes of the user run

---@class user.lock.args
---@field name? string Name of the user
---@field username? string Name of the user
---@field user? string Name of the user

---@class user.unlock.args
---@field name? string Name of the user
---@field username? string Name of the user
---@field user? string Name of the user

---@class user.set_password.args
---@field name? string Name of the user
---@field username? string Name of the user
---@field user? string Name of the user
---@field password? string Password as a crypt hash ($6$…), or as a secret in the clear, which is set at every call

---@class user.set_shell.args
---@field name? string Name of the user
---@field username? string Name of the user
---@field user? string Name of the user
---@field shell? string Login shell

---@class user.set_home.args
---@field name? string Name of the user
---@field username? string Name of the user
---@field user? string Name of the user
---@field home? string Home folder
---@field move_home? boolean Move the old home folder there
---@field move? boolean Move the old home folder there

---@class user.set_comment.args
---@field name? string Name of the user
---@field username? string Name of the user
---@field user? string Name of the user
---@field comment? string The comment

---@class user.set_primary_group.args
---@field name? string Name of the user
---@field username? string Name of the user
---@field user? string Name of the user
---@field group? string The group

---@class user.add_to_group.args
---@field name? string Name of the user
---@field username? string Name of the user
---@field user? string Name of the user
---@field group? string[]|string The group, or a list of them
---@field groups? string[]|string The group, or a list of them

---@class user.remove_from_group.args
---@field name? string Name of the user
---@field username? string Name of the user
---@field user? string Name of the user
---@field group? string[]|string The group, or a list of them
---@field groups? string[]|string The group, or a list of them

---@class user.set_expiry.args
---@field name? string Name of the user
---@field username? string Name of the user
---@field user? string Name of the user
---@field expires? string Date such as "2030-12-31" from which on nobody can log in as the user, or "never"
---@field expiry? string Date such as "2030-12-31" from which on nobody can log in as the user, or "never"
---@field date? string Date such as "2030-12-31" from which on nobody can log in as the user, or "never"

---@class user.expire_password.args
---@field name? string Name of the user
---@field username? string Name of the user
---@field user? string Name of the user

---@class user.run_as.args
---@field name? string Name of the user
---@field username? string Name of the user
---@field user? string Name of the user
---@field command? string Command for /bin/sh
---@field cmd? string Command for /bin/sh
---@field workdir? string Folder to run in; by default the task's
---@field cwd? string Folder to run in; by default the task's
---@field chdir? string Folder to run in; by default the task's
---@field env? table<string, string> Variables on top of the task's and of HOME, USER and LOGNAME
---@field stdin? string What the command reads; nothing by default
---@field input? string What the command reads; nothing by default
---@field timeout? string|number Kills the command and everything it started after this long

---@class user.exists.args
---@field name? string Name of the user
---@field username? string Name of the user
---@field user? string Name of the user

---@class user.get_info.args
---@field name? string Name of the user
---@field username? string Name of the user
---@field user? string Name of the user

---@class user.get_uid.args
---@field name? string Name of the user
---@field username? string Name of the user
---@field user? string Name of the user

---@class user.get_gid.args
---@field name? string Name of the user
---@field username? string Name of the user
---@field user? string Name of the user

---@class user.get_home.args
---@field name? string Name of the user
---@field username? string Name of the user
---@field user? string Name of the user

---@class user.get_shell.args
---@field name? string Name of the user
---@field username? string Name of the user
---@field user? string Name of the user

---@class user.get_comment.args
---@field name? string Name of the user
---@field username? string Name of the user
---@field user? string Name of the user

---@class user.get_groups.args
---@field name? string Name of the user
---@field username? string Name of the user
---@field user? string Name of the user

---@class user.is_locked.args
---@field name? string Name of the user
---@field username? string Name of the user
---@field user? string Name of the user

---@class user.is_system_user.args
---@field name? string Name of the user
---@field username? string Name of the user
---@field user? string Name of the user

---@class user.get_last_login.args
---@field name? string Name of the user
---@field username? string Name of the user
---@field user? string Name of the user

---@class user.list.args
---@field system? boolean Only users of the system, or only others

---@class user.validate_username.args
---@field name? string The text
---@field username? string The text

---@class user.group_create.args
---@field name? string Name of the group
---@field group? string Name of the group
---@field gid? integer Number of the group
---@field system? boolean Take the number of a new group from those of the system

---@class user.group_delete.args
---@field name? string Name of the group
---@field group? string Name of the group

---@class user.group_add_member.args
---@field name? string Name of the group
---@field group? string Name of the group
---@field user? string Name of the user
---@field username? string Name of the user
---@field member? string Name of the user

---@class user.group_remove_member.args
---@field name? string Name of the group
---@field group? string Name of the group
---@field user? string Name of the user
---@field username? string Name of the user
---@field member? string Name of the user

---@class user.group_exists.args
---@field name? string Name of the group
---@field group? string Name of the group

---@class user.group_get_info.args
---@field name? string Name of the group
---@field group? string Name of the group

---@class user.group_get_gid.args
---@field name? string Name of the group
---@field group? string Name of the group

---@class user.group_members.args
---@field name? string Name of the group
---@field group? string Name of the group

---Users and groups of the host; raises when they cannot be changed.
---@class userlib
---@overload fun(args: user.create.args): any
user = {}

---Create a user, or bring one that is there into the state described.
---
---    user.create({ name = "webapp", home = "/home/webapp", shell = "/bin/bash" })
---@param name string|user.create.args Name of the user
---@param args? user.create.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function user.create(name, args) end
user.add = user.create

---Change a user that is there.
---
---    user.modify("deploy", { shell = "/usr/sbin/nologin" })
---@param name string|user.modify.args Name of the user
---@param args? user.modify.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function user.modify(name, args) end

---Delete a user.
---
---    user.delete("deploy")
---@param name string|user.delete.args Name of the user
---@param args? user.delete.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function user.delete(name, args) end
user.remove = user.delete

---Make the password of a user useless; keys of SSH still work.
---
---    user.lock("deploy")
---@param name string|user.lock.args Name of the user
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function user.lock(name) end

---Undo lock.
---
---    user.unlock("guest")
---@param name string|user.unlock.args Name of the user
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function user.unlock(name) end

---Set the password of a user, given as a crypt hash or as a secret.
---
---    user.set_password("deploy", "$6$salt$hash")
---@param name string|user.set_password.args Name of the user
---@param password? string Password as a crypt hash ($6$…), or as a secret in the clear, which is set at every call
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function user.set_password(name, password) end

---Set the login shell of a user.
---
---    user.set_shell("deploy", "/bin/sh")
---@param name string|user.set_shell.args Name of the user
---@param shell? string Login shell
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function user.set_shell(name, shell) end

---Set the home folder of a user.
---
---    user.set_home("deploy", "/srv/webapp")
---@param name string|user.set_home.args Name of the user
---@param home? string Home folder
---@param move_home? boolean Move the old home folder there
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function user.set_home(name, home, move_home) end

---Set the comment of a user, which is often the full name.
---
---    user.set_comment("deploy", "The web application")
---@param name string|user.set_comment.args Name of the user
---@param comment? string The comment
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function user.set_comment(name, comment) end

---Set the primary group of a user.
---
---    user.set_primary_group("deploy", "www-data")
---@param name string|user.set_primary_group.args Name of the user
---@param group? string The group
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function user.set_primary_group(name, group) end

---Make a user a member of a group.
---
---    user.add_to_group("deploy", "www-data")
---@param name string|user.add_to_group.args Name of the user
---@param group? string[]|string The group, or a list of them
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function user.add_to_group(name, group) end

---End the membership of a user in a group.
---
---    user.remove_from_group("deploy", "adm")
---@param name string|user.remove_from_group.args Name of the user
---@param group? string[]|string The group, or a list of them
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function user.remove_from_group(name, group) end

---Set the date from which on nobody can log in as the user.
---
---    user.set_expiry("deploy", "2030-12-31")
---@param name string|user.set_expiry.args Name of the user
---@param expires? string Date such as "2030-12-31" from which on nobody can log in as the user, or "never"
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function user.set_expiry(name, expires) end

---Ask for a new password at the next login.
---
---    user.expire_password("deploy")
---@param name string|user.expire_password.args Name of the user
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function user.expire_password(name) end

---Run a command as a user, which only root can; raises nothing when the command fails.
---
---    local r = user.run_as("root", "id -un")
---@param name string|user.run_as.args Name of the user
---@param command? string Command for /bin/sh
---@param args? user.run_as.args
---@return any # {success, changed, exit_code, stdout, stderr, error, duration}
function user.run_as(name, command, args) end

---Tell whether there is a user of that name.
---
---    local yes = user.exists("root")
---@param name string|user.exists.args Name of the user
---@return any # boolean
function user.exists(name) end

---Describe a user; nil when there is none.
---
---    local u = user.get_info("root")
---@param name string|user.get_info.args Name of the user
---@return any # {name, uid, gid, group, groups, comment, home, shell} or nil
function user.get_info(name) end
user.info = user.get_info

---Return the number of a user, or nil.
---
---    local id = user.get_uid("root")
---@param name string|user.get_uid.args Name of the user
---@return any # number or nil
function user.get_uid(name) end

---Return the number of a user's primary group, or nil.
---
---    local id = user.get_gid("root")
---@param name string|user.get_gid.args Name of the user
---@return any # number or nil
function user.get_gid(name) end

---Return the home folder of a user, or nil.
---
---    local dir = user.get_home("root")
---@param name string|user.get_home.args Name of the user
---@return any # text or nil
function user.get_home(name) end

---Return the login shell of a user, or nil.
---
---    local sh = user.get_shell("root")
---@param name string|user.get_shell.args Name of the user
---@return any # text or nil
function user.get_shell(name) end

---Return the comment of a user, or nil.
---
---    local c = user.get_comment("root")
---@param name string|user.get_comment.args Name of the user
---@return any # text or nil
function user.get_comment(name) end

---List the groups that a user is in, the primary one first; nil when there is no such user.
---
---    local g = user.get_groups("root")
---@param name string|user.get_groups.args Name of the user
---@return any # list of names or nil
function user.get_groups(name) end

---Tell whether the password of a user is locked; only root can see it.
---
---    local ok, yes = pcall(user.is_locked, "root")
---@param name string|user.is_locked.args Name of the user
---@return any # boolean
function user.is_locked(name) end

---Tell whether a user is one of the system's: its number is below 1000, or nobody's.
---
---    local yes = user.is_system_user("root")
---@param name string|user.is_system_user.args Name of the user
---@return any # boolean
function user.is_system_user(name) end

---Tell when and from where a user last logged in; nil when it never did.
---
---    local ok, l = pcall(user.get_last_login, "root")
---@param name string|user.get_last_login.args Name of the user
---@return any # {time (Unix seconds), date, terminal, host} or nil
function user.get_last_login(name) end

---List the users of the host's own file.
---
---    local all = user.list()
---@param system? boolean|user.list.args Only users of the system, or only others
---@return any # list of what get_info returns
function user.list(system) end

---Describe the user that the task runs as.
---
---    local me = user.get_current()
---@return any # {name, uid, gid, group, groups, comment, home, shell}
function user.get_current() end

---Tell whether the task runs as root.
---
---    local yes = user.is_root()
---@return any # boolean
function user.is_root() end

---Tell whether a text can be the name of a user, and if not, why.
---
---    local ok, why = user.validate_username("web app")
---@param name string|user.validate_username.args The text
---@return any # boolean, and the reason when it is false
function user.validate_username(name) end

---Create a group, or give one that is there the number asked for.
---
---    user.group_create("deployers")
---@param name string|user.group_create.args Name of the group
---@param gid? integer Number of the group
---@param args? user.group_create.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function user.group_create(name, gid, args) end

---Delete a group.
---
---    user.group_delete("old-team")
---@param name string|user.group_delete.args Name of the group
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function user.group_delete(name) end

---Make a user a member of a group.
---
---    user.group_add_member("www-data", "deploy")
---@param name string|user.group_add_member.args Name of the group
---@param user? string Name of the user
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function user.group_add_member(name, user) end

---End the membership of a user in a group.
---
---    user.group_remove_member("adm", "deploy")
---@param name string|user.group_remove_member.args Name of the group
---@param user? string Name of the user
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function user.group_remove_member(name, user) end

---Tell whether there is a group of that name.
---
---    local yes = user.group_exists("root")
---@param name string|user.group_exists.args Name of the group
---@return any # boolean
function user.group_exists(name) end

---Describe a group; nil when there is none.
---
---    local g = user.group_get_info("root")
---@param name string|user.group_get_info.args Name of the group
---@return any # {name, gid, members} or nil
function user.group_get_info(name) end

---Return the number of a group, or nil.
---
---    local id = user.group_get_gid("root")
---@param name string|user.group_get_gid.args Name of the group
---@return any # number or nil
function user.group_get_gid(name) end

---List the members of a group, with those whose primary group it is; nil when there is no such group.
---
---    local m = user.group_members("root")
---@param name string|user.group_members.args Name of the group
---@return any # list of names or nil
function user.group_members(name) end

---List the groups of the host's own file.
---
---    local all = user.group_list()
---@return any # list of what group_get_info returns
function user.group_list() end

---@class authorized_key.present.args
---@field user? string User whom the keys let in
---@field name? string User whom the keys let in
---@field key? string[]|string The public key, several lines of them, or a list; a line may begin with options
---@field keys? string[]|string The public key, several lines of them, or a list; a line may begin with options
---@field file? string File of the controller, beside the .sloth file, with such lines, instead of key
---@field src? string File of the controller, beside the .sloth file, with such lines, instead of key
---@field path? string File of the host to write, instead of .ssh/authorized_keys in the home of the user
---@field options? string Options of the keys, instead of those in their lines: 'no-pty,command="/bin/backup"'
---@field key_options? string Options of the keys, instead of those in their lines: 'no-pty,command="/bin/backup"'
---@field comment? string Comment of the keys, instead of those in their lines
---@field exclusive? boolean Remove all other keys; comment lines stay
---@field manage_dir? boolean Make the folder, and keep it 0700 and the user's; it is kept so unless path is given

---@class authorized_key.absent.args
---@field user? string User whom the keys let in
---@field name? string User whom the keys let in
---@field key? string[]|string The public key, several lines of them, or a list; a line may begin with options
---@field keys? string[]|string The public key, several lines of them, or a list; a line may begin with options
---@field file? string File of the controller, beside the .sloth file, with such lines, instead of key
---@field src? string File of the controller, beside the .sloth file, with such lines, instead of key
---@field path? string File of the host to write, instead of .ssh/authorized_keys in the home of the user

---@class authorized_key.list.args
---@field user? string User whom the keys let in
---@field name? string User whom the keys let in
---@field path? string File of the host to read, instead of .ssh/authorized_keys in the home of the user

---Keys that may log in as a user over SSH; raises when a key is none, with its line.
---@class authorized_keylib
authorized_key = {}

---Let keys log in as a user, each with the options said and no others.
---
---    authorized_key.present("root", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBhRcXGhT0mZr3l2Z2cY0d0b7wB4T3d9dmCqS6yE0qkV ann@example")
---@param user string|authorized_key.present.args User whom the keys let in
---@param key? string[]|string The public key, several lines of them, or a list; a line may begin with options
---@param args? authorized_key.present.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function authorized_key.present(user, key, args) end
authorized_key.add = authorized_key.present

---Let keys no longer log in as a user.
---
---    authorized_key.absent("root", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPt1MdqmbYEiaECdXDoAgDSYUulJuDnvFDG8TWutGXCy")
---@param user string|authorized_key.absent.args User whom the keys let in
---@param key? string[]|string The public key, several lines of them, or a list; a line may begin with options
---@param args? authorized_key.absent.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function authorized_key.absent(user, key, args) end
authorized_key.remove = authorized_key.absent

---List the keys that may log in as a user; lines that are no keys are left out.
---
---    local keys = authorized_key.list("root")
---@param user string|authorized_key.list.args User whom the keys let in
---@param args? authorized_key.list.args
---@return any # list of {type, key, comment, options, fingerprint, line}
function authorized_key.list(user, args) end

authorized_keys = authorized_key

---@class known_hosts.present.args
---@field name? string The host: a name, an address, [host]:port, or a pattern as it stands in the file
---@field host? string The host: a name, an address, [host]:port, or a pattern as it stands in the file
---@field path? string The file; without it .ssh/known_hosts in the home of the user the task runs as
---@field key? string[]|string The public keys, several lines or a list; a line may begin with a marker and names, as in the file
---@field keys? string[]|string The public keys, several lines or a list; a line may begin with a marker and names, as in the file
---@field hash_host? boolean Hide the name as ssh does with HashKnownHosts
---@field hash? boolean Hide the name as ssh does with HashKnownHosts

---@class known_hosts.absent.args
---@field name? string The host: a name, an address, [host]:port, or a pattern as it stands in the file
---@field host? string The host: a name, an address, [host]:port, or a pattern as it stands in the file
---@field path? string The file; without it .ssh/known_hosts in the home of the user the task runs as
---@field key? string[]|string Keys to forget; without it all those of the host that have no marker
---@field keys? string[]|string Keys to forget; without it all those of the host that have no marker

---@class known_hosts.list.args
---@field name? string Only the keys of this host
---@field host? string Only the keys of this host
---@field path? string The file; without it .ssh/known_hosts in the home of the user the task runs as

---Keys by which the SSH client of a host recognizes others; raises when a key is none, with its line.
---@class known_hostslib
known_hosts = {}

---Let the SSH client know a host by its keys; another key of the same type is replaced.
---
---    known_hosts.present({ name = "git.example.com", key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBhRcXGhT0mZr3l2Z2cY0d0b7wB4T3d9dmCqS6yE0qkV", path = "/etc/ssh/ssh_known_hosts" })
---@param name string|known_hosts.present.args The host: a name, an address, [host]:port, or a pattern as it stands in the file
---@param key? string[]|string The public keys, several lines or a list; a line may begin with a marker and names, as in the file
---@param args? known_hosts.present.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function known_hosts.present(name, key, args) end
known_hosts.add = known_hosts.present

---Let the SSH client forget a host, or one of its keys; other names on a line stay, and so do marked lines.
---
---    known_hosts.absent({ name = "old.example.com", path = "/etc/ssh/ssh_known_hosts" })
---@param name string|known_hosts.absent.args The host: a name, an address, [host]:port, or a pattern as it stands in the file
---@param key? string[]|string Keys to forget; without it all those of the host that have no marker
---@param args? known_hosts.absent.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function known_hosts.absent(name, key, args) end
known_hosts.remove = known_hosts.absent

---List the keys in the file, or those of one host; the name of a hashed line is its hash.
---
---    local keys = known_hosts.list({ path = "/etc/ssh/ssh_known_hosts" })
---@param name? string|known_hosts.list.args Only the keys of this host
---@param args? known_hosts.list.args
---@return any # list of {names, marker, type, key, comment, hashed, fingerprint, line}
function known_hosts.list(name, args) end

---@class firewall.allow.args
---@field port? string[]|string Port, range ("8000-8010") or list of them
---@field ports? string[]|string Port, range ("8000-8010") or list of them
---@field proto? "tcp"|"udp"|"any" Protocol; tcp where there is a port, or else any
---@field protocol? "tcp"|"udp"|"any" Protocol; tcp where there is a port, or else any
---@field service? string Name of a service instead of port and proto: "ssh", "https", or one of /etc/services
---@field from? string Address or network that the packets come from
---@field source? string Address or network that the packets come from
---@field src? string Address or network that the packets come from
---@field to? string Address or network that they go to
---@field destination? string Address or network that they go to
---@field dest? string Address or network that they go to
---@field interface? string Network interface that they pass
---@field iface? string Network interface that they pass
---@field direction? "in"|"out" Whether they come in or go out
---@field comment? string What the rule is for; firewalld keeps no comments
---@field backend? "ufw"|"firewalld"|"nft" Which firewall is meant; without it the one that is on, or else the first of ufw, firewalld and nft that is there

---@class firewall.deny.args
---@field port? string[]|string Port, range ("8000-8010") or list of them
---@field ports? string[]|string Port, range ("8000-8010") or list of them
---@field proto? "tcp"|"udp"|"any" Protocol; tcp where there is a port, or else any
---@field protocol? "tcp"|"udp"|"any" Protocol; tcp where there is a port, or else any
---@field service? string Name of a service instead of port and proto: "ssh", "https", or one of /etc/services
---@field from? string Address or network that the packets come from
---@field source? string Address or network that the packets come from
---@field src? string Address or network that the packets come from
---@field to? string Address or network that they go to
---@field destination? string Address or network that they go to
---@field dest? string Address or network that they go to
---@field interface? string Network interface that they pass
---@field iface? string Network interface that they pass
---@field direction? "in"|"out" Whether they come in or go out
---@field comment? string What the rule is for; firewalld keeps no comments
---@field backend? "ufw"|"firewalld"|"nft" Which firewall is meant; without it the one that is on, or else the first of ufw, firewalld and nft that is there
---@field force? boolean Also when it shuts out SSH

---@class firewall.reject.args
---@field port? string[]|string Port, range ("8000-8010") or list of them
---@field ports? string[]|string Port, range ("8000-8010") or list of them
---@field proto? "tcp"|"udp"|"any" Protocol; tcp where there is a port, or else any
---@field protocol? "tcp"|"udp"|"any" Protocol; tcp where there is a port, or else any
---@field service? string Name of a service instead of port and proto: "ssh", "https", or one of /etc/services
---@field from? string Address or network that the packets come from
---@field source? string Address or network that the packets come from
---@field src? string Address or network that the packets come from
---@field to? string Address or network that they go to
---@field destination? string Address or network that they go to
---@field dest? string Address or network that they go to
---@field interface? string Network interface that they pass
---@field iface? string Network interface that they pass
---@field direction? "in"|"out" Whether they come in or go out
---@field comment? string What the rule is for; firewalld keeps no comments
---@field backend? "ufw"|"firewalld"|"nft" Which firewall is meant; without it the one that is on, or else the first of ufw, firewalld and nft that is there
---@field force? boolean Also when it shuts out SSH

---@class firewall.remove.args
---@field port? string[]|string Port, range ("8000-8010") or list of them
---@field ports? string[]|string Port, range ("8000-8010") or list of them
---@field proto? "tcp"|"udp"|"any" Protocol; tcp where there is a port, or else any
---@field protocol? "tcp"|"udp"|"any" Protocol; tcp where there is a port, or else any
---@field service? string Name of a service instead of port and proto: "ssh", "https", or one of /etc/services
---@field from? string Address or network that the packets come from
---@field source? string Address or network that the packets come from
---@field src? string Address or network that the packets come from
---@field to? string Address or network that they go to
---@field destination? string Address or network that they go to
---@field dest? string Address or network that they go to
---@field interface? string Network interface that they pass
---@field iface? string Network interface that they pass
---@field direction? "in"|"out" Whether they come in or go out
---@field comment? string What the rule is for; firewalld keeps no comments
---@field backend? "ufw"|"firewalld"|"nft" Which firewall is meant; without it the one that is on, or else the first of ufw, firewalld and nft that is there
---@field action? "allow"|"deny"|"reject"|"limit" What the rule does
---@field force? boolean Also when it shuts out SSH

---@class firewall.default.args
---@field backend? "ufw"|"firewalld"|"nft" Which firewall is meant; without it the one that is on, or else the first of ufw, firewalld and nft that is there
---@field incoming? "allow"|"deny"|"reject" What becomes of packets that come in
---@field outgoing? "allow"|"deny"|"reject" What becomes of packets that go out
---@field force? boolean Also when it shuts out SSH

---@class firewall.enable.args
---@field backend? "ufw"|"firewalld"|"nft" Which firewall is meant; without it the one that is on, or else the first of ufw, firewalld and nft that is there
---@field force? boolean Also when it shuts out SSH

---@class firewall.disable.args
---@field backend? "ufw"|"firewalld"|"nft" Which firewall is meant; without it the one that is on, or else the first of ufw, firewalld and nft that is there

---@class firewall.status.args
---@field backend? "ufw"|"firewalld"|"nft" Which firewall is meant; without it the one that is on, or else the first of ufw, firewalld and nft that is there

---@class firewall.list.args
---@field backend? "ufw"|"firewalld"|"nft" Which firewall is meant; without it the one that is on, or else the first of ufw, firewalld and nft that is there

---Firewall rules over ufw, firewalld or nftables; what would cut off the SSH connection it works through is an error.
---@class firewalllib
firewall = {}

---Let packets pass.
---
---    firewall.allow({ port = 443, from = "10.0.0.0/8", comment = "the web site" })
---@param port? string[]|string|firewall.allow.args Port, range ("8000-8010") or list of them
---@param args? firewall.allow.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function firewall.allow(port, args) end

---Drop packets without an answer.
---
---    firewall.deny({ from = "192.0.2.0/24" })
---@param port? string[]|string|firewall.deny.args Port, range ("8000-8010") or list of them
---@param args? firewall.deny.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function firewall.deny(port, args) end
firewall.drop = firewall.deny

---Refuse packets with an answer.
---
---    firewall.reject({ port = 25, direction = "out" })
---@param port? string[]|string|firewall.reject.args Port, range ("8000-8010") or list of them
---@param args? firewall.reject.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function firewall.reject(port, args) end

---Do away with a rule, which is described as it was made.
---
---    firewall.remove({ port = 8080 })
---@param port? string[]|string|firewall.remove.args Port, range ("8000-8010") or list of them
---@param args? firewall.remove.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function firewall.remove(port, args) end
firewall.delete = firewall.remove

---Say what becomes of packets that no rule speaks of.
---
---    firewall.default({ outgoing = "reject" })
---@param args? firewall.default.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function firewall.default(args) end
firewall.policy = firewall.default

---Switch the firewall on, now and at every start.
---
---    firewall.enable({ backend = "ufw" })
---@param args? firewall.enable.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function firewall.enable(args) end

---Switch the firewall off, now and at every start; its rules are kept.
---
---    firewall.disable({ backend = "nft" })
---@param args? firewall.disable.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function firewall.disable(args) end

---Tell which firewall there is, whether it is on, and what it does with packets that no rule speaks of.
---
---    local s = firewall.status()
---@param args? firewall.status.args
---@return any # {backend, enabled, incoming, outgoing, rules}
function firewall.status(args) end

---List the rules, in the order in which they are tried.
---
---    local rules = firewall.list()
---@param args? firewall.list.args
---@return any # list of {action, direction, proto, port, from, to, interface, comment}
function firewall.list(args) end

---@class systemd.ensure.args
---@field name? string[]|string One service or a list of them; a name without a suffix is that of a .service
---@field names? string[]|string One service or a list of them; a name without a suffix is that of a .service
---@field service? string[]|string One service or a list of them; a name without a suffix is that of a .service
---@field services? string[]|string One service or a list of them; a name without a suffix is that of a .service
---@field unit? string[]|string One service or a list of them; a name without a suffix is that of a .service
---@field units? string[]|string One service or a list of them; a name without a suffix is that of a .service
---@field state? "started"|"stopped"|"restarted"|"reloaded" What becomes of it: restarted and reloaded are done at every call, the others where needed
---@field enabled? boolean Whether it starts at boot
---@field enable? boolean Whether it starts at boot
---@field masked? boolean Whether it is impossible to start it
---@field mask? boolean Whether it is impossible to start it
---@field daemon_reload? boolean First let systemd read all unit files again, where one has changed since it did

---@class systemd.enable.args
---@field name? string[]|string One service or a list of them; a name without a suffix is that of a .service
---@field names? string[]|string One service or a list of them; a name without a suffix is that of a .service
---@field service? string[]|string One service or a list of them; a name without a suffix is that of a .service
---@field services? string[]|string One service or a list of them; a name without a suffix is that of a .service
---@field unit? string[]|string One service or a list of them; a name without a suffix is that of a .service
---@field units? string[]|string One service or a list of them; a name without a suffix is that of a .service

---@class systemd.disable.args
---@field name? string[]|string One service or a list of them; a name without a suffix is that of a .service
---@field names? string[]|string One service or a list of them; a name without a suffix is that of a .service
---@field service? string[]|string One service or a list of them; a name without a suffix is that of a .service
---@field services? string[]|string One service or a list of them; a name without a suffix is that of a .service
---@field unit? string[]|string One service or a list of them; a name without a suffix is that of a .service
---@field units? string[]|string One service or a list of them; a name without a suffix is that of a .service

---@class systemd.start.args
---@field name? string[]|string One service or a list of them; a name without a suffix is that of a .service
---@field names? string[]|string One service or a list of them; a name without a suffix is that of a .service
---@field service? string[]|string One service or a list of them; a name without a suffix is that of a .service
---@field services? string[]|string One service or a list of them; a name without a suffix is that of a .service
---@field unit? string[]|string One service or a list of them; a name without a suffix is that of a .service
---@field units? string[]|string One service or a list of them; a name without a suffix is that of a .service

---@class systemd.stop.args
---@field name? string[]|string One service or a list of them; a name without a suffix is that of a .service
---@field names? string[]|string One service or a list of them; a name without a suffix is that of a .service
---@field service? string[]|string One service or a list of them; a name without a suffix is that of a .service
---@field services? string[]|string One service or a list of them; a name without a suffix is that of a .service
---@field unit? string[]|string One service or a list of them; a name without a suffix is that of a .service
---@field units? string[]|string One service or a list of them; a name without a suffix is that of a .service

---@class systemd.mask.args
---@field name? string[]|string One service or a list of them; a name without a suffix is that of a .service
---@field names? string[]|string One service or a list of them; a name without a suffix is that of a .service
---@field service? string[]|string One service or a list of them; a name without a suffix is that of a .service
---@field services? string[]|string One service or a list of them; a name without a suffix is that of a .service
---@field unit? string[]|string One service or a list of them; a name without a suffix is that of a .service
---@field units? string[]|string One service or a list of them; a name without a suffix is that of a .service

---@class systemd.unmask.args
---@field name? string[]|string One service or a list of them; a name without a suffix is that of a .service
---@field names? string[]|string One service or a list of them; a name without a suffix is that of a .service
---@field service? string[]|string One service or a list of them; a name without a suffix is that of a .service
---@field services? string[]|string One service or a list of them; a name without a suffix is that of a .service
---@field unit? string[]|string One service or a list of them; a name without a suffix is that of a .service
---@field units? string[]|string One service or a list of them; a name without a suffix is that of a .service

---@class systemd.restart.args
---@field name? string[]|string One service or a list of them; a name without a suffix is that of a .service
---@field names? string[]|string One service or a list of them; a name without a suffix is that of a .service
---@field service? string[]|string One service or a list of them; a name without a suffix is that of a .service
---@field services? string[]|string One service or a list of them; a name without a suffix is that of a .service
---@field unit? string[]|string One service or a list of them; a name without a suffix is that of a .service
---@field units? string[]|string One service or a list of them; a name without a suffix is that of a .service

---@class systemd.reload.args
---@field name? string[]|string One service or a list of them; a name without a suffix is that of a .service
---@field names? string[]|string One service or a list of them; a name without a suffix is that of a .service
---@field service? string[]|string One service or a list of them; a name without a suffix is that of a .service
---@field services? string[]|string One service or a list of them; a name without a suffix is that of a .service
---@field unit? string[]|string One service or a list of them; a name without a suffix is that of a .service
---@field units? string[]|string One service or a list of them; a name without a suffix is that of a .service

---@class systemd.status.args
---@field name? string The service; a name without a suffix is that of a .service, and aliases such as sshd are followed
---@field service? string The service; a name without a suffix is that of a .service, and aliases such as sshd are followed
---@field unit? string The service; a name without a suffix is that of a .service, and aliases such as sshd are followed

---@class systemd.is_active.args
---@field name? string The service; a name without a suffix is that of a .service, and aliases such as sshd are followed
---@field service? string The service; a name without a suffix is that of a .service, and aliases such as sshd are followed
---@field unit? string The service; a name without a suffix is that of a .service, and aliases such as sshd are followed

---@class systemd.is_enabled.args
---@field name? string The service; a name without a suffix is that of a .service, and aliases such as sshd are followed
---@field service? string The service; a name without a suffix is that of a .service, and aliases such as sshd are followed
---@field unit? string The service; a name without a suffix is that of a .service, and aliases such as sshd are followed

---@class systemd.show.args
---@field name? string The service; a name without a suffix is that of a .service, and aliases such as sshd are followed
---@field service? string The service; a name without a suffix is that of a .service, and aliases such as sshd are followed
---@field unit? string The service; a name without a suffix is that of a .service, and aliases such as sshd are followed
---@field property? string One property, such as "MainPID"; all of them without it

---@class systemd.list_services.args
---@field state? string Only those in this state, such as "active", "failed" or "running"
---@field enabled? boolean Only those that start at boot, or that do not

---@class systemd.create_service.args
---@field name? string Name of the service
---@field service? string Name of the service
---@field unit? string Name of the service
---@field content? string The whole unit file, instead of the arguments below
---@field description? string What it is, in a few words
---@field exec_start? string Command line of the service; its program is an absolute path
---@field exec? string Command line of the service; its program is an absolute path
---@field command? string Command line of the service; its program is an absolute path
---@field exec_reload? string Command that lets it read its configuration again
---@field exec_stop? string Command that stops it; without one its processes get SIGTERM
---@field type? "simple"|"exec"|"forking"|"oneshot"|"notify"|"dbus"|"idle" How systemd learns that it is up
---@field user? string User it runs as; root without it
---@field group? string Group it runs as
---@field working_directory? string Folder it runs in
---@field workdir? string Folder it runs in
---@field environment? table<string, string> Variables of its environment; everybody on the host can read them
---@field env? table<string, string> Variables of its environment; everybody on the host can read them
---@field environment_file? string File with such variables
---@field restart? "no"|"always"|"on-success"|"on-failure"|"on-abnormal"|"on-abort"|"on-watchdog" When systemd starts it again
---@field restart_sec? string How long it waits before that, such as "5s"
---@field after? string[]|string Units that are started before it
---@field wants? string[]|string Units that are started with it
---@field requires? string[]|string Units that it cannot do without
---@field wanted_by? string[]|string Targets that start it once it is enabled
---@field enabled? boolean Enable it too
---@field enable? boolean Enable it too
---@field started? boolean Start it too; when its unit file changes while it runs, it is restarted
---@field start? boolean Start it too; when its unit file changes while it runs, it is restarted
---@field folder? string Where unit files are

---@class systemd.remove_service.args
---@field name? string Name of the service
---@field service? string Name of the service
---@field unit? string Name of the service
---@field folder? string Where its unit file is; what packages bring lies elsewhere and is not touched

---Start, stop, enable and describe services, and write units; raises when systemd refuses.
---@class systemdlib
---@overload fun(args: systemd.ensure.args): any
systemd = {}

---Bring services into a state: started, enabled, masked, restarted, all at once.
---
---    systemd.ensure({ name = "nginx", state = "started" })
---@param name string[]|string|systemd.ensure.args One service or a list of them; a name without a suffix is that of a .service
---@param args? systemd.ensure.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function systemd.ensure(name, args) end

---Let services start at boot.
---
---    systemd.enable("nginx")
---@param name string[]|string|systemd.enable.args One service or a list of them; a name without a suffix is that of a .service
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function systemd.enable(name) end

---Keep services from starting at boot.
---
---    systemd.disable("cron")
---@param name string[]|string|systemd.disable.args One service or a list of them; a name without a suffix is that of a .service
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function systemd.disable(name) end

---Start services that do not run; raises with the end of the journal when one fails.
---
---    systemd.start("nginx")
---@param name string[]|string|systemd.start.args One service or a list of them; a name without a suffix is that of a .service
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function systemd.start(name) end

---Stop services that run.
---
---    systemd.stop("cron")
---@param name string[]|string|systemd.stop.args One service or a list of them; a name without a suffix is that of a .service
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function systemd.stop(name) end

---Make it impossible to start services.
---
---    systemd.mask("apache2")
---@param name string[]|string|systemd.mask.args One service or a list of them; a name without a suffix is that of a .service
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function systemd.mask(name) end

---Undo mask.
---
---    systemd.unmask("cups")
---@param name string[]|string|systemd.unmask.args One service or a list of them; a name without a suffix is that of a .service
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function systemd.unmask(name) end

---Restart services, at every call; those that do not run are started.
---
---    systemd.restart("nginx")
---@param name string[]|string|systemd.restart.args One service or a list of them; a name without a suffix is that of a .service
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function systemd.restart(name) end

---Let services read their configuration again, at every call.
---
---    systemd.reload("nginx")
---@param name string[]|string|systemd.reload.args One service or a list of them; a name without a suffix is that of a .service
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function systemd.reload(name) end

---Let systemd read all unit files again, at every call.
---
---    systemd.daemon_reload()
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function systemd.daemon_reload() end

---Describe one service; one that is not there has exists = false.
---
---    local s = systemd.status("ssh")
---@param name string|systemd.status.args The service; a name without a suffix is that of a .service, and aliases such as sshd are followed
---@return any # {name, exists, is_active, is_enabled, state, sub_state, enabled, load_state, pid, result, restarts, description, path}
function systemd.status(name) end

---Tell whether a service runs.
---
---    local yes = systemd.is_active("ssh")
---@param name string|systemd.is_active.args The service; a name without a suffix is that of a .service, and aliases such as sshd are followed
---@return any # boolean
function systemd.is_active(name) end

---Tell whether a service starts at boot.
---
---    local yes = systemd.is_enabled("ssh")
---@param name string|systemd.is_enabled.args The service; a name without a suffix is that of a .service, and aliases such as sshd are followed
---@return any # boolean
function systemd.is_enabled(name) end

---Return the properties of a unit as systemctl show names them, or one of them.
---
---    local limit = systemd.show("ssh", "LimitNOFILE")
---@param name string|systemd.show.args The service; a name without a suffix is that of a .service, and aliases such as sshd are followed
---@param property? string One property, such as "MainPID"; all of them without it
---@return any # table of text, or text
function systemd.show(name, property) end

---List the services that systemd has loaded.
---
---    local failed = systemd.list_services({ state = "failed" })
---@param state? string|systemd.list_services.args Only those in this state, such as "active", "failed" or "running"
---@param args? systemd.list_services.args
---@return any # list of what status returns
function systemd.list_services(state, args) end

---Write the unit file of a service, and enable or start it when asked.
---
---    systemd.create_service("myapp", { exec_start = "/usr/bin/sleep infinity" })
---@param name string|systemd.create_service.args Name of the service
---@param args? systemd.create_service.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function systemd.create_service(name, args) end

---Stop and disable a service and remove its unit file.
---
---    systemd.remove_service("oldapp")
---@param name string|systemd.remove_service.args Name of the service
---@param args? systemd.remove_service.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function systemd.remove_service(name, args) end

service = systemd

---@class cron.present.args
---@field name? string Name of the job, by which it is found again; a comment in the crontab holds it
---@field job? string Command to run; cron takes a % for the end of the line unless it is written \%
---@field command? string Command to run; cron takes a % for the end of the line unless it is written \%
---@field cmd? string Command to run; cron takes a % for the end of the line unless it is written \%
---@field minute? string Minutes, 0 to 59: a number, * for all, lists (0,30), ranges (10-20) and steps (*/5)
---@field hour? string Hours, 0 to 23, in the same form
---@field day? string Days of the month, 1 to 31, in the same form
---@field dom? string Days of the month, 1 to 31, in the same form
---@field month? string Months, 1 to 12 or jan to dec, in the same form
---@field weekday? string Days of the week, 0 (Sunday) to 7 (Sunday again) or sun to sat, in the same form
---@field dow? string Days of the week, 0 (Sunday) to 7 (Sunday again) or sun to sat, in the same form
---@field special_time? "reboot"|"yearly"|"annually"|"monthly"|"weekly"|"daily"|"hourly" A named time instead of the five fields
---@field disabled? boolean Keep the job in the crontab as a comment, so that it does not run
---@field state? "present"|"absent" Whether there must be such a job
---@field user? string Whose crontab, without it that of the user the task runs as; in a cron_file the user that runs the job
---@field cron_file? string File of its own instead of a user's crontab: a name in /etc/cron.d, or a path
---@field file? string File of its own instead of a user's crontab: a name in /etc/cron.d, or a path
---@field backup? boolean Keep the old crontab: a cron_file beside the new one, as NAME.TIME~, a user's in /var/tmp

---@class cron.absent.args
---@field name? string Name of the job
---@field user? string Whose crontab, without it that of the user the task runs as; in a cron_file the user that runs the job
---@field cron_file? string File of its own instead of a user's crontab: a name in /etc/cron.d, or a path
---@field file? string File of its own instead of a user's crontab: a name in /etc/cron.d, or a path
---@field backup? boolean Keep the old crontab: a cron_file beside the new one, as NAME.TIME~, a user's in /var/tmp

---@class cron.env.args
---@field name? string Name of the variable, such as PATH or MAILTO
---@field value? string Its value, without quotes; cron does not fill in other variables
---@field job? string Its value, without quotes; cron does not fill in other variables
---@field insertafter? string Variable behind which a new one goes; without it on top
---@field insert_after? string Variable behind which a new one goes; without it on top
---@field insertbefore? string Variable before which a new one goes
---@field insert_before? string Variable before which a new one goes
---@field state? "present"|"absent" Whether the variable must be set
---@field user? string Whose crontab, without it that of the user the task runs as; in a cron_file the user that runs the job
---@field cron_file? string File of its own instead of a user's crontab: a name in /etc/cron.d, or a path
---@field file? string File of its own instead of a user's crontab: a name in /etc/cron.d, or a path
---@field backup? boolean Keep the old crontab: a cron_file beside the new one, as NAME.TIME~, a user's in /var/tmp

---@class cron.list.args
---@field user? string Whose crontab, without it that of the user the task runs as; in a cron_file the user that runs the job
---@field cron_file? string File of its own instead of a user's crontab: a name in /etc/cron.d, or a path
---@field file? string File of its own instead of a user's crontab: a name in /etc/cron.d, or a path

---Jobs that cron runs, in users' crontabs and in /etc/cron.d; raises when cron would not understand them.
---@class cronlib
cron = {}

---Let cron run a job, known by its name.
---
---    cron.present({ name = "backup", minute = 15, hour = 3, user = "root", job = "/usr/local/bin/backup", cron_file = "backup" })
---@param name string|cron.present.args Name of the job, by which it is found again; a comment in the crontab holds it
---@param args? cron.present.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function cron.present(name, args) end
cron.job = cron.present

---Remove a job; a file that holds nothing else goes too.
---
---    cron.absent({ name = "old report", cron_file = "reports" })
---@param name string|cron.absent.args Name of the job
---@param args? cron.absent.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function cron.absent(name, args) end
cron.remove = cron.absent

---Set or remove a variable that the jobs of a crontab see.
---
---    cron.env({ name = "MAILTO", value = "ops@example.com", cron_file = "backup" })
---@param name string|cron.env.args Name of the variable, such as PATH or MAILTO
---@param value? string Its value, without quotes; cron does not fill in other variables
---@param args? cron.env.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function cron.env(name, value, args) end

---List the jobs of a crontab, and its variables.
---
---    local jobs, vars = cron.list({ cron_file = "e2scrub_all" })
---@param args? cron.list.args
---@return any # list of {name, job, user, minute, hour, day, month, weekday, special_time, disabled}, and a table of the variables
function cron.list(args) end

---@class sysctl.set.args
---@field name? string The parameter, such as net.ipv4.ip_forward
---@field key? string The parameter, such as net.ipv4.ip_forward
---@field value? any Its value: text, a number, or true and false for 1 and 0
---@field val? any Its value: text, a number, or true and false for 1 and 0
---@field state? "present"|"absent" Whether the file must set it
---@field reload? boolean Set it in the running kernel too; other lines of the file are left alone
---@field sysctl_set? boolean Set it in the running kernel even where reload is false
---@field ignoreerrors? boolean Set a parameter that the kernel does not have in the file alone
---@field ignore_errors? boolean Set a parameter that the kernel does not have in the file alone
---@field sysctl_file? string File to set it in; a name without a slash is one in /etc/sysctl.d, and gets the end .conf
---@field file? string File to set it in; a name without a slash is one in /etc/sysctl.d, and gets the end .conf
---@field path? string File to set it in; a name without a slash is one in /etc/sysctl.d, and gets the end .conf
---@field dest? string File to set it in; a name without a slash is one in /etc/sysctl.d, and gets the end .conf
---@field backup? boolean Keep the old file beside the new one, as NAME.TIME~

---@class sysctl.absent.args
---@field name? string The parameter
---@field key? string The parameter
---@field sysctl_file? string File to set it in; a name without a slash is one in /etc/sysctl.d, and gets the end .conf
---@field file? string File to set it in; a name without a slash is one in /etc/sysctl.d, and gets the end .conf
---@field path? string File to set it in; a name without a slash is one in /etc/sysctl.d, and gets the end .conf
---@field dest? string File to set it in; a name without a slash is one in /etc/sysctl.d, and gets the end .conf
---@field backup? boolean Keep the old file beside the new one, as NAME.TIME~

---@class sysctl.get.args
---@field name? string The parameter, such as net.ipv4.ip_forward
---@field key? string The parameter, such as net.ipv4.ip_forward

---Parameters of the kernel, now and at the next boot; raises when the kernel refuses a value.
---@class sysctllib
sysctl = {}

---Set a parameter in a file that is read at boot, and in the running kernel.
---
---    sysctl.set("net.ipv4.ip_forward", 1)
---@param name string|sysctl.set.args The parameter, such as net.ipv4.ip_forward
---@param value? any Its value: text, a number, or true and false for 1 and 0
---@param args? sysctl.set.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function sysctl.set(name, value, args) end
sysctl.present = sysctl.set

---Take a parameter out of its file; the running kernel keeps its value.
---
---    sysctl.absent({ name = "vm.swappiness", file = "old" })
---@param name string|sysctl.absent.args The parameter
---@param args? sysctl.absent.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function sysctl.absent(name, args) end
sysctl.remove = sysctl.absent

---Return the value of a parameter in the running kernel; raises when there is no such parameter.
---
---    local on = sysctl.get("net.ipv4.ip_forward")
---@param name string|sysctl.get.args The parameter, such as net.ipv4.ip_forward
---@return any # text
function sysctl.get(name) end

---@class mount.mounted.args
---@field path? string Folder to mount it at; "none" for swap
---@field name? string Folder to mount it at; "none" for swap
---@field dest? string Folder to mount it at; "none" for swap
---@field src? string Device, UUID=…, LABEL=…, server:/folder, or the folder of a bind mount
---@field device? string Device, UUID=…, LABEL=…, server:/folder, or the folder of a bind mount
---@field fstype? string Type of the file system; "none" for a bind mount
---@field type? string Type of the file system; "none" for a bind mount
---@field opts? string Options, with commas between them
---@field options? string Options, with commas between them
---@field dump? integer Whether dump saves it: the fifth field of fstab
---@field passno? integer When fsck looks at it while booting: the sixth field of fstab, 0 for never
---@field boot? boolean Mount it when the host boots; false adds noauto
---@field state? "mounted"|"present"|"unmounted"|"absent"|"absent_from_fstab"|"remounted"|"ephemeral" What is wanted, as in Ansible's module
---@field fstab? string File to list it in
---@field backup? boolean Keep the old fstab beside the new one, as NAME.TIME~
---@field timeout? string|number How long mount or umount may take; a dead server holds nothing up for longer

---@class mount.present.args
---@field path? string Folder to mount it at; "none" for swap
---@field name? string Folder to mount it at; "none" for swap
---@field dest? string Folder to mount it at; "none" for swap
---@field src? string Device, UUID=…, LABEL=…, server:/folder, or the folder of a bind mount
---@field device? string Device, UUID=…, LABEL=…, server:/folder, or the folder of a bind mount
---@field fstype? string Type of the file system; "none" for a bind mount
---@field type? string Type of the file system; "none" for a bind mount
---@field opts? string Options, with commas between them
---@field options? string Options, with commas between them
---@field dump? integer Whether dump saves it: the fifth field of fstab
---@field passno? integer When fsck looks at it while booting: the sixth field of fstab, 0 for never
---@field boot? boolean Mount it when the host boots; false adds noauto
---@field state? "mounted"|"present"|"unmounted"|"absent"|"absent_from_fstab"|"remounted"|"ephemeral" What is wanted, as in Ansible's module
---@field fstab? string File to list it in
---@field backup? boolean Keep the old fstab beside the new one, as NAME.TIME~
---@field timeout? string|number How long mount or umount may take; a dead server holds nothing up for longer

---@class mount.ephemeral.args
---@field path? string Folder to mount it at
---@field name? string Folder to mount it at
---@field dest? string Folder to mount it at
---@field src? string Device, UUID=…, LABEL=…, server:/folder, or the folder of a bind mount
---@field device? string Device, UUID=…, LABEL=…, server:/folder, or the folder of a bind mount
---@field fstype? string Type of the file system; "none" for a bind mount
---@field type? string Type of the file system; "none" for a bind mount
---@field opts? string Options, with commas between them
---@field options? string Options, with commas between them
---@field timeout? string|number How long mount or umount may take; a dead server holds nothing up for longer

---@class mount.unmounted.args
---@field path? string Folder at which nothing should be mounted
---@field name? string Folder at which nothing should be mounted
---@field dest? string Folder at which nothing should be mounted
---@field lazy? boolean Detach it even while it is in use, or its server does not answer
---@field timeout? string|number How long mount or umount may take; a dead server holds nothing up for longer

---@class mount.absent.args
---@field path? string Folder that it is mounted at; "none" for swap
---@field name? string Folder that it is mounted at; "none" for swap
---@field dest? string Folder that it is mounted at; "none" for swap
---@field src? string Device of the swap that should go
---@field device? string Device of the swap that should go
---@field fstab? string File to list it in
---@field backup? boolean Keep the old fstab beside the new one, as NAME.TIME~
---@field timeout? string|number How long mount or umount may take; a dead server holds nothing up for longer

---@class mount.absent_from_fstab.args
---@field path? string Folder that it is mounted at; "none" for swap
---@field name? string Folder that it is mounted at; "none" for swap
---@field dest? string Folder that it is mounted at; "none" for swap
---@field src? string Device of the swap that should go
---@field device? string Device of the swap that should go
---@field fstab? string File to list it in
---@field backup? boolean Keep the old fstab beside the new one, as NAME.TIME~

---@class mount.remounted.args
---@field path? string Folder that it is mounted at
---@field name? string Folder that it is mounted at
---@field dest? string Folder that it is mounted at
---@field opts? string Options to give it, with commas between them; without them those of fstab
---@field options? string Options to give it, with commas between them; without them those of fstab
---@field fstab? string File that lists it
---@field timeout? string|number How long mount or umount may take; a dead server holds nothing up for longer

---@class mount.get.args
---@field path? string Folder that it is mounted at
---@field name? string Folder that it is mounted at

---@class mount.list.args
---@field fstype? string Only those of this type

---Mount file systems, now and at boot; raises when one cannot be mounted.
---@class mountlib
mount = {}

---List a file system in fstab and mount it; its folder is made when it is missing.
---
---    mount.mounted("/srv/data", { src = "/dev/vdb1", fstype = "ext4", opts = "noatime" })
---@param path string|mount.mounted.args Folder to mount it at; "none" for swap
---@param args? mount.mounted.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function mount.mounted(path, args) end

---List a file system in fstab, and leave what is mounted as it is.
---
---    mount.present("/srv/data", { src = "/dev/vdb1", fstype = "ext4" })
---@param path string|mount.present.args Folder to mount it at; "none" for swap
---@param args? mount.present.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function mount.present(path, args) end

---Mount a file system until the next boot; fstab is left alone.
---
---    mount.ephemeral("/srv/scratch", { src = "tmpfs", fstype = "tmpfs", opts = "size=64m" })
---@param path string|mount.ephemeral.args Folder to mount it at
---@param args? mount.ephemeral.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function mount.ephemeral(path, args) end

---Unmount what is mounted at a folder; fstab is left alone.
---
---    mount.unmounted("/mnt/old")
---@param path string|mount.unmounted.args Folder at which nothing should be mounted
---@param args? mount.unmounted.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function mount.unmounted(path, args) end

---Unmount a file system, take it out of fstab and remove its empty folder.
---
---    mount.absent("/mnt/old")
---@param path string|mount.absent.args Folder that it is mounted at; "none" for swap
---@param args? mount.absent.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function mount.absent(path, args) end

---Take a file system out of fstab; what is mounted stays so.
---
---    mount.absent_from_fstab("/mnt/old")
---@param path string|mount.absent_from_fstab.args Folder that it is mounted at; "none" for swap
---@param args? mount.absent_from_fstab.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function mount.absent_from_fstab(path, args) end

---Mount what is mounted again with other options, at every call.
---
---    mount.remounted("/mnt/old", { opts = "ro" })
---@param path string|mount.remounted.args Folder that it is mounted at
---@param args? mount.remounted.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function mount.remounted(path, args) end

---Describe what is mounted at a folder; nil when nothing is.
---
---    local root = mount.get("/")
---@param path string|mount.get.args Folder that it is mounted at
---@return any # {path, src, fstype, opts, root} or nil
function mount.get(path) end

---List what is mounted.
---
---    local all = mount.list({ fstype = "ext4" })
---@param fstype? string|mount.list.args Only those of this type
---@return any # list of what get returns
function mount.list(fstype) end

---@class hostname.set.args
---@field name? string The name, with or without a domain
---@field hosts? boolean Let /etc/hosts say that 127.0.1.1 is this name, as Debian does

---The name of the host; raises when it is no name that RFC 1123 allows.
---@class hostnamelib
hostname = {}

---Name the host, in /etc/hostname and in the running kernel.
---
---    hostname.set("web-02")
---@param name string|hostname.set.args The name, with or without a domain
---@param args? hostname.set.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function hostname.set(name, args) end

---Return the name that the running kernel has, and the one of /etc/hostname.
---
---    local now, at_boot = hostname.get()
---@return any # text, and text or nil
function hostname.get() end

---@class timezone.set.args
---@field name? string The zone, such as Europe/Berlin; without it the zone stays
---@field zone? string The zone, such as Europe/Berlin; without it the zone stays
---@field timezone? string The zone, such as Europe/Berlin; without it the zone stays
---@field hwclock? "UTC"|"local" Whether the hardware clock runs in UTC or in the local time; without it that stays
---@field rtc? "UTC"|"local" Whether the hardware clock runs in UTC or in the local time; without it that stays

---The time zone of the host; raises when it does not know the zone.
---@class timezonelib
timezone = {}

---Set the time zone: the link /etc/localtime, and /etc/timezone where there is one. Programs that run, such as cron, learn of it when they start again.
---
---    timezone.set("Europe/Berlin")
---@param name? string|timezone.set.args The zone, such as Europe/Berlin; without it the zone stays
---@param args? timezone.set.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function timezone.set(name, args) end

---Return the time zone of the host; nil when /etc/localtime names none.
---
---    local zone = timezone.get()
---@return any # text or nil
function timezone.get() end

---@class reboot.now.args
---@field timeout? string|number How long the host may take to come back, in seconds or text such as "10m"
---@field reboot_timeout? string|number How long the host may take to come back, in seconds or text such as "10m"
---@field delay? string|number Time between the end of the task and the restart
---@field pre_reboot_delay? string|number Time between the end of the task and the restart
---@field settle? string|number Time to wait once the host is back
---@field post_reboot_delay? string|number Time to wait once the host is back
---@field msg? string Why, for those who are logged in
---@field message? string Why, for those who are logged in
---@field command? string Command for the shell that restarts the host; systemctl reboot, shutdown or reboot by default
---@field reboot_command? string Command for the shell that restarts the host; systemctl reboot, shutdown or reboot by default

---Restart the host when the task is done; the next task runs once the host has come back.
---@class rebootlib
---@overload fun(args: reboot.now.args): any
reboot = {}

---Restart the host as soon as this task's function has returned, and go on with the next task when it has come back with another boot id.
---
---    reboot({ timeout = "10m", msg = "new kernel" })
---@param timeout? string|number|reboot.now.args How long the host may take to come back, in seconds or text such as "10m"
---@param args? reboot.now.args
---@return any # {success, changed, message, boot_id}
function reboot.now(timeout, args) end

---Tell whether the system asks for a restart (/run/reboot-required, or a running kernel whose modules are gone).
---
---    if reboot.needed() then reboot() end
---@return any # boolean, reason
function reboot.needed() end

---@class infra_test.file_exists.args
---@field path? string The file or folder; links are followed
---@field name? string The file or folder; links are followed
---@field dest? string The file or folder; links are followed
---@field target? string Name of the host to look at, "local" for the controller; without it the one the task runs on

---@class infra_test.is_directory.args
---@field path? string The file or folder; links are followed
---@field name? string The file or folder; links are followed
---@field dest? string The file or folder; links are followed
---@field target? string Name of the host to look at, "local" for the controller; without it the one the task runs on

---@class infra_test.is_file.args
---@field path? string The file or folder; links are followed
---@field name? string The file or folder; links are followed
---@field dest? string The file or folder; links are followed
---@field target? string Name of the host to look at, "local" for the controller; without it the one the task runs on

---@class infra_test.file_mode.args
---@field path? string The file or folder; links are followed
---@field name? string The file or folder; links are followed
---@field dest? string The file or folder; links are followed
---@field mode? string|number The permissions, such as "0644"
---@field target? string Name of the host to look at, "local" for the controller; without it the one the task runs on

---@class infra_test.file_owner.args
---@field path? string The file or folder; links are followed
---@field name? string The file or folder; links are followed
---@field dest? string The file or folder; links are followed
---@field owner? string Name or number of the user
---@field user? string Name or number of the user
---@field target? string Name of the host to look at, "local" for the controller; without it the one the task runs on

---@class infra_test.file_group.args
---@field path? string The file or folder; links are followed
---@field name? string The file or folder; links are followed
---@field dest? string The file or folder; links are followed
---@field group? string Name or number of the group
---@field target? string Name of the host to look at, "local" for the controller; without it the one the task runs on

---@class infra_test.file_size.args
---@field path? string The file or folder; links are followed
---@field name? string The file or folder; links are followed
---@field dest? string The file or folder; links are followed
---@field size? integer Bytes
---@field target? string Name of the host to look at, "local" for the controller; without it the one the task runs on

---@class infra_test.file_contains.args
---@field path? string The file or folder; links are followed
---@field name? string The file or folder; links are followed
---@field dest? string The file or folder; links are followed
---@field text? string The text, letter by letter: it is no pattern
---@field content? string The text, letter by letter: it is no pattern
---@field pattern? string The text, letter by letter: it is no pattern
---@field target? string Name of the host to look at, "local" for the controller; without it the one the task runs on

---@class infra_test.port_is_listening.args
---@field port? integer Number of the port
---@field target? string Name of the host to look at, "local" for the controller; without it the one the task runs on

---@class infra_test.port_is_tcp.args
---@field port? integer Number of the port
---@field target? string Name of the host to look at, "local" for the controller; without it the one the task runs on

---@class infra_test.port_is_udp.args
---@field port? integer Number of the port
---@field target? string Name of the host to look at, "local" for the controller; without it the one the task runs on

---@class infra_test.can_connect.args
---@field host? string Name or address to connect to
---@field address? string Name or address to connect to
---@field name? string Name or address to connect to
---@field port? integer Number of the TCP port
---@field timeout_ms? string Milliseconds that it may take; may be left out before target
---@field target? string Name of the host to look at, "local" for the controller; without it the one the task runs on

---@class infra_test.ping.args
---@field host? string Name or address of the host that should answer
---@field address? string Name or address of the host that should answer
---@field name? string Name or address of the host that should answer
---@field count? integer How often to try, two seconds each; one answer is enough
---@field target? string Name of the host to look at, "local" for the controller; without it the one the task runs on

---@class infra_test.service_is_running.args
---@field name? string The service; aliases such as sshd are followed
---@field service? string The service; aliases such as sshd are followed
---@field target? string Name of the host to look at, "local" for the controller; without it the one the task runs on

---@class infra_test.service_is_enabled.args
---@field name? string The service; aliases such as sshd are followed
---@field service? string The service; aliases such as sshd are followed
---@field target? string Name of the host to look at, "local" for the controller; without it the one the task runs on

---@class infra_test.process_is_running.args
---@field name? string Name of the program, or with a blank or slash in it a part of the command line
---@field process? string Name of the program, or with a blank or slash in it a part of the command line
---@field target? string Name of the host to look at, "local" for the controller; without it the one the task runs on

---@class infra_test.process_count.args
---@field name? string Name of the program, or with a blank or slash in it a part of the command line
---@field process? string Name of the program, or with a blank or slash in it a part of the command line
---@field count? integer How many there should be
---@field target? string Name of the host to look at, "local" for the controller; without it the one the task runs on

---@class infra_test.command_succeeds.args
---@field command? string Command for /bin/sh
---@field cmd? string Command for /bin/sh
---@field name? string Command for /bin/sh
---@field target? string Name of the host to look at, "local" for the controller; without it the one the task runs on

---@class infra_test.command_fails.args
---@field command? string Command for /bin/sh
---@field cmd? string Command for /bin/sh
---@field name? string Command for /bin/sh
---@field target? string Name of the host to look at, "local" for the controller; without it the one the task runs on

---@class infra_test.command_stdout_contains.args
---@field command? string Command for /bin/sh
---@field cmd? string Command for /bin/sh
---@field name? string Command for /bin/sh
---@field text? string The text expected on stdout
---@field expected? string The text expected on stdout
---@field output? string The text expected on stdout
---@field target? string Name of the host to look at, "local" for the controller; without it the one the task runs on

---@class infra_test.command_stderr_is_empty.args
---@field command? string Command for /bin/sh
---@field cmd? string Command for /bin/sh
---@field name? string Command for /bin/sh
---@field target? string Name of the host to look at, "local" for the controller; without it the one the task runs on

---@class infra_test.command_output_equals.args
---@field command? string Command for /bin/sh
---@field cmd? string Command for /bin/sh
---@field name? string Command for /bin/sh
---@field text? string The text expected on stdout
---@field expected? string The text expected on stdout
---@field output? string The text expected on stdout
---@field target? string Name of the host to look at, "local" for the controller; without it the one the task runs on

---@class infra_test.package_is_installed.args
---@field name? string The package
---@field package? string The package
---@field target? string Name of the host to look at, "local" for the controller; without it the one the task runs on

---@class infra_test.package_version.args
---@field name? string The package
---@field package? string The package
---@field version? string The version, or its first parts: "1.22" accepts 1.22.1-9, but not 1.220
---@field target? string Name of the host to look at, "local" for the controller; without it the one the task runs on

---Assert what a host should be like; every function raises when it is not so.
---@class infra_testlib
infra_test = {}

---Assert that something is at a path.
---
---    infra_test.file_exists("/etc/hosts")
---@param path string|infra_test.file_exists.args The file or folder; links are followed
---@param target? string Name of the host to look at, "local" for the controller; without it the one the task runs on
---@return any # true; raises with what was expected and what was found
function infra_test.file_exists(path, target) end

---Assert that a path is a folder, or leads to one.
---
---    infra_test.is_directory("/etc")
---@param path string|infra_test.is_directory.args The file or folder; links are followed
---@param target? string Name of the host to look at, "local" for the controller; without it the one the task runs on
---@return any # true; raises with what was expected and what was found
function infra_test.is_directory(path, target) end

---Assert that a path is a regular file, or leads to one.
---
---    infra_test.is_file("/etc/hosts")
---@param path string|infra_test.is_file.args The file or folder; links are followed
---@param target? string Name of the host to look at, "local" for the controller; without it the one the task runs on
---@return any # true; raises with what was expected and what was found
function infra_test.is_file(path, target) end

---Assert the permissions of a file.
---
---    infra_test.file_mode("/etc/passwd", "0644")
---@param path string|infra_test.file_mode.args The file or folder; links are followed
---@param mode? string|number The permissions, such as "0644"
---@param target? string Name of the host to look at, "local" for the controller; without it the one the task runs on
---@return any # true; raises with what was expected and what was found
function infra_test.file_mode(path, mode, target) end

---Assert the owner of a file.
---
---    infra_test.file_owner("/etc/passwd", "root")
---@param path string|infra_test.file_owner.args The file or folder; links are followed
---@param owner? string Name or number of the user
---@param target? string Name of the host to look at, "local" for the controller; without it the one the task runs on
---@return any # true; raises with what was expected and what was found
function infra_test.file_owner(path, owner, target) end

---Assert the group of a file.
---
---    infra_test.file_group("/etc/passwd", "root")
---@param path string|infra_test.file_group.args The file or folder; links are followed
---@param group? string Name or number of the group
---@param target? string Name of the host to look at, "local" for the controller; without it the one the task runs on
---@return any # true; raises with what was expected and what was found
function infra_test.file_group(path, group, target) end

---Assert the size of a file in bytes.
---
---    pcall(infra_test.file_size, "/etc/hostname", 7)
---@param path string|infra_test.file_size.args The file or folder; links are followed
---@param size? integer Bytes
---@param target? string Name of the host to look at, "local" for the controller; without it the one the task runs on
---@return any # true; raises with what was expected and what was found
function infra_test.file_size(path, size, target) end

---Assert that a text occurs in a file.
---
---    infra_test.file_contains("/etc/passwd", "root:x:0:0")
---@param path string|infra_test.file_contains.args The file or folder; links are followed
---@param text? string The text, letter by letter: it is no pattern
---@param target? string Name of the host to look at, "local" for the controller; without it the one the task runs on
---@return any # true; raises with what was expected and what was found
function infra_test.file_contains(path, text, target) end

---Assert that something listens on a TCP or UDP port of the host.
---
---    pcall(infra_test.port_is_listening, 22)
---@param port integer|infra_test.port_is_listening.args Number of the port
---@param target? string Name of the host to look at, "local" for the controller; without it the one the task runs on
---@return any # true; raises with what was expected and what was found
function infra_test.port_is_listening(port, target) end

---Assert that something listens on a TCP port of the host.
---
---    pcall(infra_test.port_is_tcp, 22)
---@param port integer|infra_test.port_is_tcp.args Number of the port
---@param target? string Name of the host to look at, "local" for the controller; without it the one the task runs on
---@return any # true; raises with what was expected and what was found
function infra_test.port_is_tcp(port, target) end

---Assert that something listens on a UDP port of the host.
---
---    pcall(infra_test.port_is_udp, 53)
---@param port integer|infra_test.port_is_udp.args Number of the port
---@param target? string Name of the host to look at, "local" for the controller; without it the one the task runs on
---@return any # true; raises with what was expected and what was found
function infra_test.port_is_udp(port, target) end

---Assert that a TCP connection can be made from the host.
---
---    pcall(infra_test.can_connect, "127.0.0.1", 22, 500)
---@param host string|infra_test.can_connect.args Name or address to connect to
---@param port? integer Number of the TCP port
---@param timeout_ms? string Milliseconds that it may take; may be left out before target
---@param target? string Name of the host to look at, "local" for the controller; without it the one the task runs on
---@return any # true; raises with what was expected and what was found
function infra_test.can_connect(host, port, timeout_ms, target) end

---Assert that another host answers, to ICMP or where that is not allowed by TCP.
---
---    pcall(infra_test.ping, "127.0.0.1")
---@param host string|infra_test.ping.args Name or address of the host that should answer
---@param count? integer How often to try, two seconds each; one answer is enough
---@param target? string Name of the host to look at, "local" for the controller; without it the one the task runs on
---@return any # true; raises with what was expected and what was found
function infra_test.ping(host, count, target) end

---Assert that a service runs.
---
---    pcall(infra_test.service_is_running, "sshd")
---@param name string|infra_test.service_is_running.args The service; aliases such as sshd are followed
---@param target? string Name of the host to look at, "local" for the controller; without it the one the task runs on
---@return any # true; raises with what was expected and what was found
function infra_test.service_is_running(name, target) end

---Assert that a service starts at boot.
---
---    pcall(infra_test.service_is_enabled, "ssh")
---@param name string|infra_test.service_is_enabled.args The service; aliases such as sshd are followed
---@param target? string Name of the host to look at, "local" for the controller; without it the one the task runs on
---@return any # true; raises with what was expected and what was found
function infra_test.service_is_enabled(name, target) end

---Assert that a program runs, other than sloth itself.
---
---    pcall(infra_test.process_is_running, "sshd")
---@param name string|infra_test.process_is_running.args Name of the program, or with a blank or slash in it a part of the command line
---@param target? string Name of the host to look at, "local" for the controller; without it the one the task runs on
---@return any # true; raises with what was expected and what was found
function infra_test.process_is_running(name, target) end

---Assert how many processes of a program run; those of sloth do not count.
---
---    pcall(infra_test.process_count, "nginx", 4)
---@param name string|infra_test.process_count.args Name of the program, or with a blank or slash in it a part of the command line
---@param count? integer How many there should be
---@param target? string Name of the host to look at, "local" for the controller; without it the one the task runs on
---@return any # true; raises with what was expected and what was found
function infra_test.process_count(name, count, target) end

---Assert that a command ends with 0; it is not run in a plan.
---
---    infra_test.command_succeeds("true")
---@param command string|infra_test.command_succeeds.args Command for /bin/sh
---@param target? string Name of the host to look at, "local" for the controller; without it the one the task runs on
---@return any # true; raises with what was expected and what was found
function infra_test.command_succeeds(command, target) end

---Assert that a command ends with another code than 0; it is not run in a plan.
---
---    infra_test.command_fails("false")
---@param command string|infra_test.command_fails.args Command for /bin/sh
---@param target? string Name of the host to look at, "local" for the controller; without it the one the task runs on
---@return any # true; raises with what was expected and what was found
function infra_test.command_fails(command, target) end

---Assert that a text occurs in what a command prints; it is not run in a plan.
---
---    infra_test.command_stdout_contains("echo hello", "hell")
---@param command string|infra_test.command_stdout_contains.args Command for /bin/sh
---@param text? string The text expected on stdout
---@param target? string Name of the host to look at, "local" for the controller; without it the one the task runs on
---@return any # true; raises with what was expected and what was found
function infra_test.command_stdout_contains(command, text, target) end

---Assert that a command does not complain; it is not run in a plan.
---
---    infra_test.command_stderr_is_empty("true")
---@param command string|infra_test.command_stderr_is_empty.args Command for /bin/sh
---@param target? string Name of the host to look at, "local" for the controller; without it the one the task runs on
---@return any # true; raises with what was expected and what was found
function infra_test.command_stderr_is_empty(command, target) end

---Assert what a command prints, but for line breaks at the end; it is not run in a plan.
---
---    infra_test.command_output_equals("echo hello", "hello")
---@param command string|infra_test.command_output_equals.args Command for /bin/sh
---@param text? string The text expected on stdout
---@param target? string Name of the host to look at, "local" for the controller; without it the one the task runs on
---@return any # true; raises with what was expected and what was found
function infra_test.command_output_equals(command, text, target) end

---Assert that a package is installed.
---
---    pcall(infra_test.package_is_installed, "bash")
---@param name string|infra_test.package_is_installed.args The package
---@param target? string Name of the host to look at, "local" for the controller; without it the one the task runs on
---@return any # true; raises with what was expected and what was found
function infra_test.package_is_installed(name, target) end

---Assert the version of a package: all of it, or its first parts.
---
---    pcall(infra_test.package_version, "bash", "5.2")
---@param name string|infra_test.package_version.args The package
---@param version? string The version, or its first parts: "1.22" accepts 1.22.1-9, but not 1.220
---@param target? string Name of the host to look at, "local" for the controller; without it the one the task runs on
---@return any # true; raises with what was expected and what was found
function infra_test.package_version(name, version, target) end

---@class wait_for.condition.args
---@field port? integer Number of a TCP port to wait for
---@field path? string A file or folder to wait for
---@field file? string A file or folder to wait for
---@field command? string A command for the shell to wait for, which must change nothing
---@field cmd? string A command for the shell to wait for, which must change nothing
---@field check? any A function to wait for; or, with command, the text that it must print
---@field until? any A function to wait for; or, with command, the text that it must print
---@field expect? any A function to wait for; or, with command, the text that it must print
---@field host? string Where the port is; this host by default
---@field address? string Where the port is; this host by default
---@field state? "started"|"present"|"stopped"|"absent"|"drained" For port: started, stopped or drained; for path: present or absent
---@field search_regex? string What the server must say by itself, the file hold, or the command print
---@field regex? string What the server must say by itself, the file hold, or the command print
---@field timeout? string|number How long to wait, in seconds or text such as "5m"
---@field delay? string|number How long to wait before the first look
---@field interval? string|number Time between two looks
---@field sleep? string|number Time between two looks
---@field poll? string|number Time between two looks
---@field msg? string Said at the deadline, before what was seen last
---@field message? string Said at the deadline, before what was seen last

---@class wait_for.port.args
---@field port? integer Number of the TCP port
---@field host? string Name or address to connect to; this host by default. With drained: the local address whose connections count
---@field address? string Name or address to connect to; this host by default. With drained: the local address whose connections count
---@field state? "started"|"present"|"stopped"|"absent"|"drained" Something answers (started, present), nothing does (stopped, absent), or no connection to the port is left (drained)
---@field search_regex? string What the server must say by itself once connected
---@field regex? string What the server must say by itself once connected
---@field timeout? string|number How long to wait, in seconds or text such as "5m"
---@field delay? string|number How long to wait before the first look
---@field interval? string|number Time between two looks
---@field sleep? string|number Time between two looks
---@field poll? string|number Time between two looks
---@field msg? string Said at the deadline, before what was seen last
---@field message? string Said at the deadline, before what was seen last

---@class wait_for.file.args
---@field path? string The file or folder
---@field file? string The file or folder
---@field name? string The file or folder
---@field state? "present"|"started"|"absent"|"stopped" Whether it must be there
---@field search_regex? string What a line of the file must match
---@field regex? string What a line of the file must match
---@field timeout? string|number How long to wait, in seconds or text such as "5m"
---@field delay? string|number How long to wait before the first look
---@field interval? string|number Time between two looks
---@field sleep? string|number Time between two looks
---@field poll? string|number Time between two looks
---@field msg? string Said at the deadline, before what was seen last
---@field message? string Said at the deadline, before what was seen last

---@class wait_for.command.args
---@field command? string Command for the shell, which must change nothing
---@field cmd? string Command for the shell, which must change nothing
---@field expect? string Text that it must print
---@field until? string Text that it must print
---@field search_regex? string What its output must match
---@field regex? string What its output must match
---@field timeout? string|number How long to wait, in seconds or text such as "5m"
---@field delay? string|number How long to wait before the first look
---@field interval? string|number Time between two looks
---@field sleep? string|number Time between two looks
---@field poll? string|number Time between two looks
---@field msg? string Said at the deadline, before what was seen last
---@field message? string Said at the deadline, before what was seen last

---@class wait_for.check.args
---@field fn? function The function; an error counts as not yet
---@field check? function The function; an error counts as not yet
---@field until? function The function; an error counts as not yet
---@field timeout? string|number How long to wait, in seconds or text such as "5m"
---@field delay? string|number How long to wait before the first look
---@field interval? string|number Time between two looks
---@field sleep? string|number Time between two looks
---@field poll? string|number Time between two looks
---@field msg? string Said at the deadline, before what was seen last
---@field message? string Said at the deadline, before what was seen last

---Wait until a port, a file, a command or a function says that something is ready; a plan does not wait.
---@class wait_forlib
---@overload fun(args: wait_for.condition.args): any
wait_for = {}

---Wait for what the named arguments say; raises at the deadline with what was seen last.
---
---    wait_for({ port = 22, timeout = 60 })
---@param args? wait_for.condition.args
---@return any # {success, changed = false, elapsed, attempts, seen, …}
function wait_for.condition(args) end

---Wait until something answers at a TCP port, or until nothing does.
---
---    wait_for.port(22, { timeout = "1m" })
---@param port integer|wait_for.port.args Number of the TCP port
---@param host? string Name or address to connect to; this host by default. With drained: the local address whose connections count
---@param args? wait_for.port.args
---@return any # {success, changed = false, elapsed, attempts, seen, …}
function wait_for.port(port, host, args) end

---Wait until a file is there, holds something, or is gone.
---
---    wait_for.file("/etc/hostname")
---@param path string|wait_for.file.args The file or folder
---@param args? wait_for.file.args
---@return any # {success, changed = false, elapsed, attempts, seen, …}; with search_regex also match and groups
function wait_for.file(path, args) end
wait_for.path = wait_for.file

---Wait until a command succeeds, and prints a text where one is expected; it must change nothing.
---
---    wait_for.command("systemctl is-system-running --wait || true")
---@param command string|wait_for.command.args Command for the shell, which must change nothing
---@param expect? string Text that it must print
---@param args? wait_for.command.args
---@return any # {success, changed = false, elapsed, attempts, seen, …}; also stdout, stderr and exit_code
function wait_for.command(command, expect, args) end

---Wait until a function neither raises nor returns false or nil.
---
---    wait_for.check(function() return fs.exists("/etc/hostname") end)
---@param fn function|wait_for.check.args The function; an error counts as not yet
---@param args? wait_for.check.args
---@return any # {success, changed = false, elapsed, attempts, seen, …}; value is what the function returned
function wait_for.check(fn, args) end
wait_for["until"] = wait_for.check
wait_for.fn = wait_for.check

---@class http.get.args
---@field url? string Address
---@field headers? table Headers; values are text, secrets, or lists of them
---@field query? table Parameters added to the address
---@field params? table Parameters added to the address
---@field json? any Value to send as JSON
---@field form? table Fields to send as a web form does
---@field timeout? string|number For one attempt, answer included
---@field retries? integer Further attempts after network errors and the statuses 429, 502, 503 and 504; a request that is not repeatable is only repeated when it certainly did nothing
---@field circuit? string Name of a circuit breaker: after 5 failures in a row its requests fail at once for 30 s, on all hosts of the stack; circuit.status and circuit.protect know it by that name
---@field insecure? boolean Does not check the server's certificate
---@field insecure_skip_verify? boolean Does not check the server's certificate
---@field ca? string Certificates to trust instead of the system's: a file on the host, or PEM text
---@field username? string For basic authentication
---@field user? string For basic authentication
---@field password? string For basic authentication
---@field token? string Sent as Authorization: Bearer
---@field follow? boolean Follows redirects, at most 10 and never from https to http
---@field follow_redirects? boolean Follows redirects, at most 10 and never from https to http
---@field max_body? integer Largest answer taken into memory, in bytes; download has no such limit
---@field check_safe? boolean The request changes nothing: it is sent under plan too

---@class http.head.args
---@field url? string Address
---@field headers? table Headers; values are text, secrets, or lists of them
---@field query? table Parameters added to the address
---@field params? table Parameters added to the address
---@field json? any Value to send as JSON
---@field form? table Fields to send as a web form does
---@field timeout? string|number For one attempt, answer included
---@field retries? integer Further attempts after network errors and the statuses 429, 502, 503 and 504; a request that is not repeatable is only repeated when it certainly did nothing
---@field circuit? string Name of a circuit breaker: after 5 failures in a row its requests fail at once for 30 s, on all hosts of the stack; circuit.status and circuit.protect know it by that name
---@field insecure? boolean Does not check the server's certificate
---@field insecure_skip_verify? boolean Does not check the server's certificate
---@field ca? string Certificates to trust instead of the system's: a file on the host, or PEM text
---@field username? string For basic authentication
---@field user? string For basic authentication
---@field password? string For basic authentication
---@field token? string Sent as Authorization: Bearer
---@field follow? boolean Follows redirects, at most 10 and never from https to http
---@field follow_redirects? boolean Follows redirects, at most 10 and never from https to http
---@field max_body? integer Largest answer taken into memory, in bytes; download has no such limit
---@field check_safe? boolean The request changes nothing: it is sent under plan too

---@class http.delete.args
---@field url? string Address
---@field headers? table Headers; values are text, secrets, or lists of them
---@field query? table Parameters added to the address
---@field params? table Parameters added to the address
---@field json? any Value to send as JSON
---@field form? table Fields to send as a web form does
---@field timeout? string|number For one attempt, answer included
---@field retries? integer Further attempts after network errors and the statuses 429, 502, 503 and 504; a request that is not repeatable is only repeated when it certainly did nothing
---@field circuit? string Name of a circuit breaker: after 5 failures in a row its requests fail at once for 30 s, on all hosts of the stack; circuit.status and circuit.protect know it by that name
---@field insecure? boolean Does not check the server's certificate
---@field insecure_skip_verify? boolean Does not check the server's certificate
---@field ca? string Certificates to trust instead of the system's: a file on the host, or PEM text
---@field username? string For basic authentication
---@field user? string For basic authentication
---@field password? string For basic authentication
---@field token? string Sent as Authorization: Bearer
---@field follow? boolean Follows redirects, at most 10 and never from https to http
---@field follow_redirects? boolean Follows redirects, at most 10 and never from https to http
---@field max_body? integer Largest answer taken into memory, in bytes; download has no such limit
---@field check_safe? boolean The request changes nothing: it is sent under plan too

---@class http.post.args
---@field url? string Address
---@field body? string Text to send
---@field headers? table Headers; values are text, secrets, or lists of them
---@field query? table Parameters added to the address
---@field params? table Parameters added to the address
---@field json? any Value to send as JSON
---@field form? table Fields to send as a web form does
---@field timeout? string|number For one attempt, answer included
---@field retries? integer Further attempts after network errors and the statuses 429, 502, 503 and 504; a request that is not repeatable is only repeated when it certainly did nothing
---@field circuit? string Name of a circuit breaker: after 5 failures in a row its requests fail at once for 30 s, on all hosts of the stack; circuit.status and circuit.protect know it by that name
---@field insecure? boolean Does not check the server's certificate
---@field insecure_skip_verify? boolean Does not check the server's certificate
---@field ca? string Certificates to trust instead of the system's: a file on the host, or PEM text
---@field username? string For basic authentication
---@field user? string For basic authentication
---@field password? string For basic authentication
---@field token? string Sent as Authorization: Bearer
---@field follow? boolean Follows redirects, at most 10 and never from https to http
---@field follow_redirects? boolean Follows redirects, at most 10 and never from https to http
---@field max_body? integer Largest answer taken into memory, in bytes; download has no such limit
---@field check_safe? boolean The request changes nothing: it is sent under plan too

---@class http.put.args
---@field url? string Address
---@field body? string Text to send
---@field headers? table Headers; values are text, secrets, or lists of them
---@field query? table Parameters added to the address
---@field params? table Parameters added to the address
---@field json? any Value to send as JSON
---@field form? table Fields to send as a web form does
---@field timeout? string|number For one attempt, answer included
---@field retries? integer Further attempts after network errors and the statuses 429, 502, 503 and 504; a request that is not repeatable is only repeated when it certainly did nothing
---@field circuit? string Name of a circuit breaker: after 5 failures in a row its requests fail at once for 30 s, on all hosts of the stack; circuit.status and circuit.protect know it by that name
---@field insecure? boolean Does not check the server's certificate
---@field insecure_skip_verify? boolean Does not check the server's certificate
---@field ca? string Certificates to trust instead of the system's: a file on the host, or PEM text
---@field username? string For basic authentication
---@field user? string For basic authentication
---@field password? string For basic authentication
---@field token? string Sent as Authorization: Bearer
---@field follow? boolean Follows redirects, at most 10 and never from https to http
---@field follow_redirects? boolean Follows redirects, at most 10 and never from https to http
---@field max_body? integer Largest answer taken into memory, in bytes; download has no such limit
---@field check_safe? boolean The request changes nothing: it is sent under plan too

---@class http.patch.args
---@field url? string Address
---@field body? string Text to send
---@field headers? table Headers; values are text, secrets, or lists of them
---@field query? table Parameters added to the address
---@field params? table Parameters added to the address
---@field json? any Value to send as JSON
---@field form? table Fields to send as a web form does
---@field timeout? string|number For one attempt, answer included
---@field retries? integer Further attempts after network errors and the statuses 429, 502, 503 and 504; a request that is not repeatable is only repeated when it certainly did nothing
---@field circuit? string Name of a circuit breaker: after 5 failures in a row its requests fail at once for 30 s, on all hosts of the stack; circuit.status and circuit.protect know it by that name
---@field insecure? boolean Does not check the server's certificate
---@field insecure_skip_verify? boolean Does not check the server's certificate
---@field ca? string Certificates to trust instead of the system's: a file on the host, or PEM text
---@field username? string For basic authentication
---@field user? string For basic authentication
---@field password? string For basic authentication
---@field token? string Sent as Authorization: Bearer
---@field follow? boolean Follows redirects, at most 10 and never from https to http
---@field follow_redirects? boolean Follows redirects, at most 10 and never from https to http
---@field max_body? integer Largest answer taken into memory, in bytes; download has no such limit
---@field check_safe? boolean The request changes nothing: it is sent under plan too

---@class http.request.args
---@field url? string Address
---@field method? string Such as PUT or OPTIONS
---@field body? string Text to send
---@field headers? table Headers; values are text, secrets, or lists of them
---@field query? table Parameters added to the address
---@field params? table Parameters added to the address
---@field json? any Value to send as JSON
---@field form? table Fields to send as a web form does
---@field timeout? string|number For one attempt, answer included
---@field retries? integer Further attempts after network errors and the statuses 429, 502, 503 and 504; a request that is not repeatable is only repeated when it certainly did nothing
---@field circuit? string Name of a circuit breaker: after 5 failures in a row its requests fail at once for 30 s, on all hosts of the stack; circuit.status and circuit.protect know it by that name
---@field insecure? boolean Does not check the server's certificate
---@field insecure_skip_verify? boolean Does not check the server's certificate
---@field ca? string Certificates to trust instead of the system's: a file on the host, or PEM text
---@field username? string For basic authentication
---@field user? string For basic authentication
---@field password? string For basic authentication
---@field token? string Sent as Authorization: Bearer
---@field follow? boolean Follows redirects, at most 10 and never from https to http
---@field follow_redirects? boolean Follows redirects, at most 10 and never from https to http
---@field max_body? integer Largest answer taken into memory, in bytes; download has no such limit
---@field check_safe? boolean The request changes nothing: it is sent under plan too

---@class http.download.args
---@field url? string Address
---@field path? string File on the host, or a folder to put it into under its own name
---@field dest? string File on the host, or a folder to put it into under its own name
---@field sha256? string What the content's SHA-256 must be; the file is left alone when it has it already
---@field checksum? string What the content's SHA-256 must be; the file is left alone when it has it already
---@field mode? string|number Mode of the file
---@field headers? table Headers; values are text, secrets, or lists of them
---@field query? table Parameters added to the address
---@field params? table Parameters added to the address
---@field json? any Value to send as JSON
---@field form? table Fields to send as a web form does
---@field timeout? string|number For one attempt, answer included
---@field retries? integer Further attempts after network errors and the statuses 429, 502, 503 and 504; a request that is not repeatable is only repeated when it certainly did nothing
---@field circuit? string Name of a circuit breaker: after 5 failures in a row its requests fail at once for 30 s, on all hosts of the stack; circuit.status and circuit.protect know it by that name
---@field insecure? boolean Does not check the server's certificate
---@field insecure_skip_verify? boolean Does not check the server's certificate
---@field ca? string Certificates to trust instead of the system's: a file on the host, or PEM text
---@field username? string For basic authentication
---@field user? string For basic authentication
---@field password? string For basic authentication
---@field token? string Sent as Authorization: Bearer
---@field follow? boolean Follows redirects, at most 10 and never from https to http
---@field follow_redirects? boolean Follows redirects, at most 10 and never from https to http
---@field max_body? integer Largest answer taken into memory, in bytes; download has no such limit
---@field check_safe? boolean The request changes nothing: it is sent under plan too

---HTTP requests; never raises, a network error is a result with status_code 0.
---@class httplib
http = {}

---Send a GET request.
---
---    local r = http.get("http://127.0.0.1:9/health", { timeout = "2s" })
---@param url string|http.get.args Address
---@param args? http.get.args
---@return any # {success, status_code, body, headers, json, time_ms, error}
function http.get(url, args) end

---Send a HEAD request.
---
---    local r = http.head("http://127.0.0.1:9/health", { timeout = "2s" })
---@param url string|http.head.args Address
---@param args? http.head.args
---@return any # {success, status_code, body, headers, json, time_ms, error}
function http.head(url, args) end

---Send a DELETE request.
---
---    local r = http.delete("http://127.0.0.1:9/health", { timeout = "2s" })
---@param url string|http.delete.args Address
---@param args? http.delete.args
---@return any # {success, status_code, body, headers, json, time_ms, error}
function http.delete(url, args) end

---Send a POST request.
---
---    local r = http.post("http://127.0.0.1:9/items", { json = { name = "a" } })
---@param url string|http.post.args Address
---@param body? string Text to send
---@param args? http.post.args
---@return any # {success, status_code, body, headers, json, time_ms, error}
function http.post(url, body, args) end

---Send a PUT request.
---
---    local r = http.put("http://127.0.0.1:9/items", { json = { name = "a" } })
---@param url string|http.put.args Address
---@param body? string Text to send
---@param args? http.put.args
---@return any # {success, status_code, body, headers, json, time_ms, error}
function http.put(url, body, args) end

---Send a PATCH request.
---
---    local r = http.patch("http://127.0.0.1:9/items", { json = { name = "a" } })
---@param url string|http.patch.args Address
---@param body? string Text to send
---@param args? http.patch.args
---@return any # {success, status_code, body, headers, json, time_ms, error}
function http.patch(url, body, args) end

---Send a request of any method.
---
---    local r = http.request("http://127.0.0.1:9/", { method = "OPTIONS" })
---@param url string|http.request.args Address
---@param args? http.request.args
---@return any # {success, status_code, body, headers, json, time_ms, error}
function http.request(url, args) end

---Put what an address gives into a file, whole or not at all.
---
---    local r = http.download("http://127.0.0.1:9/app.tar.gz", "/tmp/app.tar.gz")
---@param url string|http.download.args Address
---@param path? string File on the host, or a folder to put it into under its own name
---@param args? http.download.args
---@return any # {success, changed, status_code, path, size, sha256, time_ms, error}
function http.download(url, path, args) end

---@class net.get.args
---@field url? string Address
---@field headers? table Headers; values are text, secrets, or lists of them
---@field query? table Parameters added to the address
---@field params? table Parameters added to the address
---@field json? any Value to send as JSON
---@field form? table Fields to send as a web form does
---@field timeout? string|number For one attempt, answer included
---@field retries? integer Further attempts after network errors and the statuses 429, 502, 503 and 504; a request that is not repeatable is only repeated when it certainly did nothing
---@field circuit? string Name of a circuit breaker: after 5 failures in a row its requests fail at once for 30 s, on all hosts of the stack; circuit.status and circuit.protect know it by that name
---@field insecure? boolean Does not check the server's certificate
---@field insecure_skip_verify? boolean Does not check the server's certificate
---@field ca? string Certificates to trust instead of the system's: a file on the host, or PEM text
---@field username? string For basic authentication
---@field user? string For basic authentication
---@field password? string For basic authentication
---@field token? string Sent as Authorization: Bearer
---@field follow? boolean Follows redirects, at most 10 and never from https to http
---@field follow_redirects? boolean Follows redirects, at most 10 and never from https to http
---@field max_body? integer Largest answer taken into memory, in bytes; download has no such limit
---@field check_safe? boolean The request changes nothing: it is sent under plan too

---@class net.head.args
---@field url? string Address
---@field headers? table Headers; values are text, secrets, or lists of them
---@field query? table Parameters added to the address
---@field params? table Parameters added to the address
---@field json? any Value to send as JSON
---@field form? table Fields to send as a web form does
---@field timeout? string|number For one attempt, answer included
---@field retries? integer Further attempts after network errors and the statuses 429, 502, 503 and 504; a request that is not repeatable is only repeated when it certainly did nothing
---@field circuit? string Name of a circuit breaker: after 5 failures in a row its requests fail at once for 30 s, on all hosts of the stack; circuit.status and circuit.protect know it by that name
---@field insecure? boolean Does not check the server's certificate
---@field insecure_skip_verify? boolean Does not check the server's certificate
---@field ca? string Certificates to trust instead of the system's: a file on the host, or PEM text
---@field username? string For basic authentication
---@field user? string For basic authentication
---@field password? string For basic authentication
---@field token? string Sent as Authorization: Bearer
---@field follow? boolean Follows redirects, at most 10 and never from https to http
---@field follow_redirects? boolean Follows redirects, at most 10 and never from https to http
---@field max_body? integer Largest answer taken into memory, in bytes; download has no such limit
---@field check_safe? boolean The request changes nothing: it is sent under plan too

---@class net.post.args
---@field url? string Address
---@field data? any Text to send, or a table to send as JSON; a table of options alone is one when it names headers, json or another option beside body
---@field body? string Text to send
---@field headers? table Headers; values are text, secrets, or lists of them
---@field query? table Parameters added to the address
---@field params? table Parameters added to the address
---@field json? any Value to send as JSON
---@field form? table Fields to send as a web form does
---@field timeout? string|number For one attempt, answer included
---@field retries? integer Further attempts after network errors and the statuses 429, 502, 503 and 504; a request that is not repeatable is only repeated when it certainly did nothing
---@field circuit? string Name of a circuit breaker: after 5 failures in a row its requests fail at once for 30 s, on all hosts of the stack; circuit.status and circuit.protect know it by that name
---@field insecure? boolean Does not check the server's certificate
---@field insecure_skip_verify? boolean Does not check the server's certificate
---@field ca? string Certificates to trust instead of the system's: a file on the host, or PEM text
---@field username? string For basic authentication
---@field user? string For basic authentication
---@field password? string For basic authentication
---@field token? string Sent as Authorization: Bearer
---@field follow? boolean Follows redirects, at most 10 and never from https to http
---@field follow_redirects? boolean Follows redirects, at most 10 and never from https to http
---@field max_body? integer Largest answer taken into memory, in bytes; download has no such limit
---@field check_safe? boolean The request changes nothing: it is sent under plan too

---@class net.put.args
---@field url? string Address
---@field data? any Text to send, or a table to send as JSON; a table of options alone is one when it names headers, json or another option beside body
---@field body? string Text to send
---@field headers? table Headers; values are text, secrets, or lists of them
---@field query? table Parameters added to the address
---@field params? table Parameters added to the address
---@field json? any Value to send as JSON
---@field form? table Fields to send as a web form does
---@field timeout? string|number For one attempt, answer included
---@field retries? integer Further attempts after network errors and the statuses 429, 502, 503 and 504; a request that is not repeatable is only repeated when it certainly did nothing
---@field circuit? string Name of a circuit breaker: after 5 failures in a row its requests fail at once for 30 s, on all hosts of the stack; circuit.status and circuit.protect know it by that name
---@field insecure? boolean Does not check the server's certificate
---@field insecure_skip_verify? boolean Does not check the server's certificate
---@field ca? string Certificates to trust instead of the system's: a file on the host, or PEM text
---@field username? string For basic authentication
---@field user? string For basic authentication
---@field password? string For basic authentication
---@field token? string Sent as Authorization: Bearer
---@field follow? boolean Follows redirects, at most 10 and never from https to http
---@field follow_redirects? boolean Follows redirects, at most 10 and never from https to http
---@field max_body? integer Largest answer taken into memory, in bytes; download has no such limit
---@field check_safe? boolean The request changes nothing: it is sent under plan too

---@class net.patch.args
---@field url? string Address
---@field data? any Text to send, or a table to send as JSON; a table of options alone is one when it names headers, json or another option beside body
---@field body? string Text to send
---@field headers? table Headers; values are text, secrets, or lists of them
---@field query? table Parameters added to the address
---@field params? table Parameters added to the address
---@field json? any Value to send as JSON
---@field form? table Fields to send as a web form does
---@field timeout? string|number For one attempt, answer included
---@field retries? integer Further attempts after network errors and the statuses 429, 502, 503 and 504; a request that is not repeatable is only repeated when it certainly did nothing
---@field circuit? string Name of a circuit breaker: after 5 failures in a row its requests fail at once for 30 s, on all hosts of the stack; circuit.status and circuit.protect know it by that name
---@field insecure? boolean Does not check the server's certificate
---@field insecure_skip_verify? boolean Does not check the server's certificate
---@field ca? string Certificates to trust instead of the system's: a file on the host, or PEM text
---@field username? string For basic authentication
---@field user? string For basic authentication
---@field password? string For basic authentication
---@field token? string Sent as Authorization: Bearer
---@field follow? boolean Follows redirects, at most 10 and never from https to http
---@field follow_redirects? boolean Follows redirects, at most 10 and never from https to http
---@field max_body? integer Largest answer taken into memory, in bytes; download has no such limit
---@field check_safe? boolean The request changes nothing: it is sent under plan too

---@class net.delete.args
---@field url? string Address
---@field data? any Text to send, or a table to send as JSON; a table of options alone is one when it names headers, json or another option beside body
---@field body? string Text to send
---@field headers? table Headers; values are text, secrets, or lists of them
---@field query? table Parameters added to the address
---@field params? table Parameters added to the address
---@field json? any Value to send as JSON
---@field form? table Fields to send as a web form does
---@field timeout? string|number For one attempt, answer included
---@field retries? integer Further attempts after network errors and the statuses 429, 502, 503 and 504; a request that is not repeatable is only repeated when it certainly did nothing
---@field circuit? string Name of a circuit breaker: after 5 failures in a row its requests fail at once for 30 s, on all hosts of the stack; circuit.status and circuit.protect know it by that name
---@field insecure? boolean Does not check the server's certificate
---@field insecure_skip_verify? boolean Does not check the server's certificate
---@field ca? string Certificates to trust instead of the system's: a file on the host, or PEM text
---@field username? string For basic authentication
---@field user? string For basic authentication
---@field password? string For basic authentication
---@field token? string Sent as Authorization: Bearer
---@field follow? boolean Follows redirects, at most 10 and never from https to http
---@field follow_redirects? boolean Follows redirects, at most 10 and never from https to http
---@field max_body? integer Largest answer taken into memory, in bytes; download has no such limit
---@field check_safe? boolean The request changes nothing: it is sent under plan too

---@class net.request.args
---@field url? string Address
---@field method? string Such as PUT or OPTIONS
---@field body? string Text to send
---@field headers? table Headers; values are text, secrets, or lists of them
---@field query? table Parameters added to the address
---@field params? table Parameters added to the address
---@field json? any Value to send as JSON
---@field form? table Fields to send as a web form does
---@field timeout? string|number For one attempt, answer included
---@field retries? integer Further attempts after network errors and the statuses 429, 502, 503 and 504; a request that is not repeatable is only repeated when it certainly did nothing
---@field circuit? string Name of a circuit breaker: after 5 failures in a row its requests fail at once for 30 s, on all hosts of the stack; circuit.status and circuit.protect know it by that name
---@field insecure? boolean Does not check the server's certificate
---@field insecure_skip_verify? boolean Does not check the server's certificate
---@field ca? string Certificates to trust instead of the system's: a file on the host, or PEM text
---@field username? string For basic authentication
---@field user? string For basic authentication
---@field password? string For basic authentication
---@field token? string Sent as Authorization: Bearer
---@field follow? boolean Follows redirects, at most 10 and never from https to http
---@field follow_redirects? boolean Follows redirects, at most 10 and never from https to http
---@field max_body? integer Largest answer taken into memory, in bytes; download has no such limit
---@field check_safe? boolean The request changes nothing: it is sent under plan too

---@class net.download.args
---@field url? string Address
---@field path? string File on the host, or a folder to put it into under its own name
---@field dest? string File on the host, or a folder to put it into under its own name
---@field sha256? string What the content's SHA-256 must be; the file is left alone when it has it already
---@field checksum? string What the content's SHA-256 must be; the file is left alone when it has it already
---@field mode? string|number Mode of the file
---@field headers? table Headers; values are text, secrets, or lists of them
---@field query? table Parameters added to the address
---@field params? table Parameters added to the address
---@field json? any Value to send as JSON
---@field form? table Fields to send as a web form does
---@field timeout? string|number For one attempt, answer included
---@field retries? integer Further attempts after network errors and the statuses 429, 502, 503 and 504; a request that is not repeatable is only repeated when it certainly did nothing
---@field circuit? string Name of a circuit breaker: after 5 failures in a row its requests fail at once for 30 s, on all hosts of the stack; circuit.status and circuit.protect know it by that name
---@field insecure? boolean Does not check the server's certificate
---@field insecure_skip_verify? boolean Does not check the server's certificate
---@field ca? string Certificates to trust instead of the system's: a file on the host, or PEM text
---@field username? string For basic authentication
---@field user? string For basic authentication
---@field password? string For basic authentication
---@field token? string Sent as Authorization: Bearer
---@field follow? boolean Follows redirects, at most 10 and never from https to http
---@field follow_redirects? boolean Follows redirects, at most 10 and never from https to http
---@field max_body? integer Largest answer taken into memory, in bytes; download has no such limit
---@field check_safe? boolean The request changes nothing: it is sent under plan too

---HTTP requests in short: data goes behind the address, a table as JSON.
---@class netlib
net = {}

---Send a GET request.
---
---    local r = net.get("http://127.0.0.1:9/health", { timeout = "2s" })
---@param url string|net.get.args Address
---@param args? net.get.args
---@return any # {success, status_code, body, headers, json, time_ms, error}
function net.get(url, args) end
net.http_get = net.get

---Send a HEAD request.
---
---    local r = net.head("http://127.0.0.1:9/health", { timeout = "2s" })
---@param url string|net.head.args Address
---@param args? net.head.args
---@return any # {success, status_code, body, headers, json, time_ms, error}
function net.head(url, args) end

---Send data in a POST request, a table as JSON.
---
---    local r = net.post("http://127.0.0.1:9/items", { name = "a" })
---@param url string|net.post.args Address
---@param data? any Text to send, or a table to send as JSON; a table of options alone is one when it names headers, json or another option beside body
---@param args? net.post.args
---@return any # {success, status_code, body, headers, json, time_ms, error}
function net.post(url, data, args) end
net.http_post = net.post

---Send data in a PUT request, a table as JSON.
---
---    local r = net.put("http://127.0.0.1:9/items", { name = "a" })
---@param url string|net.put.args Address
---@param data? any Text to send, or a table to send as JSON; a table of options alone is one when it names headers, json or another option beside body
---@param args? net.put.args
---@return any # {success, status_code, body, headers, json, time_ms, error}
function net.put(url, data, args) end

---Send data in a PATCH request, a table as JSON.
---
---    local r = net.patch("http://127.0.0.1:9/items", { name = "a" })
---@param url string|net.patch.args Address
---@param data? any Text to send, or a table to send as JSON; a table of options alone is one when it names headers, json or another option beside body
---@param args? net.patch.args
---@return any # {success, status_code, body, headers, json, time_ms, error}
function net.patch(url, data, args) end

---Send data in a DELETE request, a table as JSON.
---
---    local r = net.delete("http://127.0.0.1:9/items", { name = "a" })
---@param url string|net.delete.args Address
---@param data? any Text to send, or a table to send as JSON; a table of options alone is one when it names headers, json or another option beside body
---@param args? net.delete.args
---@return any # {success, status_code, body, headers, json, time_ms, error}
function net.delete(url, data, args) end

---Send a request of any method.
---
---    local r = net.request("http://127.0.0.1:9/", { method = "OPTIONS" })
---@param url string|net.request.args Address
---@param args? net.request.args
---@return any # {success, status_code, body, headers, json, time_ms, error}
function net.request(url, args) end

---Put what an address gives into a file, whole or not at all.
---
---    local r = net.download("http://127.0.0.1:9/app.tar.gz", "/tmp/app.tar.gz")
---@param url string|net.download.args Address
---@param path? string File on the host, or a folder to put it into under its own name
---@param args? net.download.args
---@return any # {success, changed, status_code, path, size, sha256, time_ms, error}
function net.download(url, path, args) end

---@class ssh.connect.args
---@field host? string Host of the inventory or of ~/.ssh/config, name or address
---@field hostname? string Host of the inventory or of ~/.ssh/config, name or address
---@field address? string Host of the inventory or of ~/.ssh/config, name or address
---@field name? string Host of the inventory or of ~/.ssh/config, name or address
---@field user? string Who logs in; by default what the inventory and ~/.ssh/config say
---@field username? string Who logs in; by default what the inventory and ~/.ssh/config say
---@field port? integer Port of sshd
---@field password? string Password to log in with, where keys do not do
---@field key? string Private key file of the controller, relative to the .sloth file
---@field key_file? string Private key file of the controller, relative to the .sloth file
---@field private_key? string Private key file of the controller, relative to the .sloth file
---@field key_path? string Private key file of the controller, relative to the .sloth file
---@field identity_file? string Private key file of the controller, relative to the .sloth file
---@field jump? string Jump hosts, as for ssh -J
---@field proxy_jump? string Jump hosts, as for ssh -J
---@field bastion? string Jump hosts, as for ssh -J
---@field timeout? string|number How long connecting may take
---@field options? table<string, string> Options as for ssh -o

---@class ssh.disconnect.args
---@field connection? any What connect returned; or a table with all arguments by name
---@field conn? any What connect returned; or a table with all arguments by name
---@field client? any What connect returned; or a table with all arguments by name

---@class ssh.exec.args
---@field connection? any What connect returned; or a table with all arguments by name
---@field conn? any What connect returned; or a table with all arguments by name
---@field client? any What connect returned; or a table with all arguments by name
---@field command? string Command line for the login shell
---@field cmd? string Command line for the login shell
---@field argv? string[]|string Program and arguments, instead of command: no quoting
---@field stdin? string What it reads; nothing by default
---@field input? string What it reads; nothing by default
---@field timeout? string|number Ends the command after this long
---@field check_safe? boolean The command changes nothing, and counts as unchanged; a plan does not run it either

---@class ssh.upload.args
---@field connection? any What connect returned; or a table with all arguments by name
---@field conn? any What connect returned; or a table with all arguments by name
---@field client? any What connect returned; or a table with all arguments by name
---@field local_path? string File of the controller, relative to the .sloth file
---@field src? string File of the controller, relative to the .sloth file
---@field local_file? string File of the controller, relative to the .sloth file
---@field source? string File of the controller, relative to the .sloth file
---@field remote_path? string Path on the host, absolute or from the home folder
---@field dest? string Path on the host, absolute or from the home folder
---@field remote_file? string Path on the host, absolute or from the home folder
---@field destination? string Path on the host, absolute or from the home folder
---@field mode? string|number Mode of the file; by default that of the controller's

---@class ssh.download.args
---@field connection? any What connect returned; or a table with all arguments by name
---@field conn? any What connect returned; or a table with all arguments by name
---@field client? any What connect returned; or a table with all arguments by name
---@field remote_path? string Path on the host, absolute or from the home folder
---@field src? string Path on the host, absolute or from the home folder
---@field remote_file? string Path on the host, absolute or from the home folder
---@field source? string Path on the host, absolute or from the home folder
---@field local_path? string File of the controller, relative to the .sloth file
---@field dest? string File of the controller, relative to the .sloth file
---@field local_file? string File of the controller, relative to the .sloth file
---@field destination? string File of the controller, relative to the .sloth file
---@field mode? string|number Mode of the file; by default 0600

---@class ssh.upload_dir.args
---@field connection? any What connect returned; or a table with all arguments by name
---@field conn? any What connect returned; or a table with all arguments by name
---@field client? any What connect returned; or a table with all arguments by name
---@field local_path? string File of the controller, relative to the .sloth file
---@field src? string File of the controller, relative to the .sloth file
---@field local_file? string File of the controller, relative to the .sloth file
---@field source? string File of the controller, relative to the .sloth file
---@field remote_path? string Path on the host, absolute or from the home folder
---@field dest? string Path on the host, absolute or from the home folder
---@field remote_file? string Path on the host, absolute or from the home folder
---@field destination? string Path on the host, absolute or from the home folder
---@field mode? string|number Mode of the file; by default that of the controller's

---@class ssh.download_dir.args
---@field connection? any What connect returned; or a table with all arguments by name
---@field conn? any What connect returned; or a table with all arguments by name
---@field client? any What connect returned; or a table with all arguments by name
---@field remote_path? string Path on the host, absolute or from the home folder
---@field src? string Path on the host, absolute or from the home folder
---@field remote_file? string Path on the host, absolute or from the home folder
---@field source? string Path on the host, absolute or from the home folder
---@field local_path? string File of the controller, relative to the .sloth file
---@field dest? string File of the controller, relative to the .sloth file
---@field local_file? string File of the controller, relative to the .sloth file
---@field destination? string File of the controller, relative to the .sloth file
---@field mode? string|number Mode of the file; by default 0600

---@class ssh.exists.args
---@field connection? any What connect returned; or a table with all arguments by name
---@field conn? any What connect returned; or a table with all arguments by name
---@field client? any What connect returned; or a table with all arguments by name
---@field path? string Path on the host, absolute or from the home folder
---@field remote_path? string Path on the host, absolute or from the home folder
---@field name? string Path on the host, absolute or from the home folder

---@class ssh.stat.args
---@field connection? any What connect returned; or a table with all arguments by name
---@field conn? any What connect returned; or a table with all arguments by name
---@field client? any What connect returned; or a table with all arguments by name
---@field path? string Path on the host, absolute or from the home folder
---@field remote_path? string Path on the host, absolute or from the home folder
---@field name? string Path on the host, absolute or from the home folder

---@class ssh.list_dir.args
---@field connection? any What connect returned; or a table with all arguments by name
---@field conn? any What connect returned; or a table with all arguments by name
---@field client? any What connect returned; or a table with all arguments by name
---@field path? string Path on the host, absolute or from the home folder
---@field remote_path? string Path on the host, absolute or from the home folder
---@field name? string Path on the host, absolute or from the home folder

---@class ssh.mkdir.args
---@field connection? any What connect returned; or a table with all arguments by name
---@field conn? any What connect returned; or a table with all arguments by name
---@field client? any What connect returned; or a table with all arguments by name
---@field path? string Path on the host, absolute or from the home folder
---@field remote_path? string Path on the host, absolute or from the home folder
---@field name? string Path on the host, absolute or from the home folder
---@field mode? string|number Mode of the folder
---@field parents? boolean Makes the folders above too; one that is there is fine then
---@field recursive? boolean Makes the folders above too; one that is there is fine then

---@class ssh.remove.args
---@field connection? any What connect returned; or a table with all arguments by name
---@field conn? any What connect returned; or a table with all arguments by name
---@field client? any What connect returned; or a table with all arguments by name
---@field path? string Path on the host, absolute or from the home folder
---@field remote_path? string Path on the host, absolute or from the home folder
---@field name? string Path on the host, absolute or from the home folder
---@field recursive? boolean Removes a folder with all that is in it

---@class ssh.rename.args
---@field connection? any What connect returned; or a table with all arguments by name
---@field conn? any What connect returned; or a table with all arguments by name
---@field client? any What connect returned; or a table with all arguments by name
---@field from? string Path on the host
---@field old_path? string Path on the host
---@field src? string Path on the host
---@field path? string Path on the host
---@field to? string Its new name, in place of what has it
---@field new_path? string Its new name, in place of what has it
---@field dest? string Its new name, in place of what has it

---@class ssh.chmod.args
---@field connection? any What connect returned; or a table with all arguments by name
---@field conn? any What connect returned; or a table with all arguments by name
---@field client? any What connect returned; or a table with all arguments by name
---@field path? string Path on the host, absolute or from the home folder
---@field remote_path? string Path on the host, absolute or from the home folder
---@field name? string Path on the host, absolute or from the home folder
---@field mode? string|number The mode

---@class ssh.chown.args
---@field connection? any What connect returned; or a table with all arguments by name
---@field conn? any What connect returned; or a table with all arguments by name
---@field client? any What connect returned; or a table with all arguments by name
---@field path? string Path on the host, absolute or from the home folder
---@field remote_path? string Path on the host, absolute or from the home folder
---@field name? string Path on the host, absolute or from the home folder
---@field owner? string User, by name or number
---@field user? string User, by name or number
---@field uid? string User, by name or number
---@field group? string Group, by name or number
---@field gid? string Group, by name or number

---@class ssh.create_tunnel.args
---@field connection? any What connect returned; or a table with all arguments by name
---@field conn? any What connect returned; or a table with all arguments by name
---@field client? any What connect returned; or a table with all arguments by name
---@field local_port? integer Port of the controller; 0, the default, takes a free one
---@field remote_host? string Where to, as the host sees it
---@field remote_port? integer Port there
---@field local_host? string Address of the controller to listen on
---@field bind_address? string Address of the controller to listen on

---@class ssh.close_tunnel.args
---@field tunnel? any What create_tunnel returned
---@field id? any What create_tunnel returned

---@class ssh.generate_keypair.args
---@field path? string Private key file; the public key goes beside it, with .pub behind the name
---@field private_key? string Private key file; the public key goes beside it, with .pub behind the name
---@field file? string Private key file; the public key goes beside it, with .pub behind the name
---@field name? string Private key file; the public key goes beside it, with .pub behind the name
---@field type? "ed25519"|"ecdsa"|"rsa" Kind of key
---@field kind? "ed25519"|"ecdsa"|"rsa" Kind of key
---@field algorithm? "ed25519"|"ecdsa"|"rsa" Kind of key
---@field bits? integer Size of the key: 256, 384 or 521 for ecdsa, 2048 to 8192 for rsa; by default 256 and 3072
---@field size? integer Size of the key: 256, 384 or 521 for ecdsa, 2048 to 8192 for rsa; by default 256 and 3072
---@field comment? string Comment of the key
---@field force? boolean Makes a new key at every call, in place of one that is there
---@field overwrite? boolean Makes a new key at every call, in place of one that is there

---@class ssh.load_private_key.args
---@field path? string Private key file
---@field private_key? string Private key file
---@field file? string Private key file
---@field name? string Private key file

---@class ssh.add_authorized_key.args
---@field user? string User whom the keys let in
---@field name? string User whom the keys let in
---@field key? string[]|string The public key, several lines of them, or a list; a line may begin with options
---@field keys? string[]|string The public key, several lines of them, or a list; a line may begin with options
---@field file? string File of the controller, beside the .sloth file, with such lines, instead of key
---@field src? string File of the controller, beside the .sloth file, with such lines, instead of key
---@field path? string File of the host to write, instead of .ssh/authorized_keys in the home of the user
---@field options? string Options of the keys, instead of those in their lines: 'no-pty,command="/bin/backup"'
---@field key_options? string Options of the keys, instead of those in their lines: 'no-pty,command="/bin/backup"'
---@field comment? string Comment of the keys, instead of those in their lines
---@field exclusive? boolean Remove all other keys; comment lines stay
---@field manage_dir? boolean Make the folder, and keep it 0700 and the user's; it is kept so unless path is given

---@class ssh.remove_authorized_key.args
---@field user? string User whom the keys let in
---@field name? string User whom the keys let in
---@field key? string[]|string The public key, several lines of them, or a list; a line may begin with options
---@field keys? string[]|string The public key, several lines of them, or a list; a line may begin with options
---@field file? string File of the controller, beside the .sloth file, with such lines, instead of key
---@field src? string File of the controller, beside the .sloth file, with such lines, instead of key
---@field path? string File of the host to write, instead of .ssh/authorized_keys in the home of the user

---@class ssh.list_authorized_keys.args
---@field user? string User whom the keys let in
---@field name? string User whom the keys let in
---@field path? string File of the host to read, instead of .ssh/authorized_keys in the home of the user

---@class ssh.key_exists.args
---@field user? string User whom the key would let in
---@field name? string User whom the key would let in
---@field key? string The public key, as its .pub file has it; its comment does not matter
---@field path? string File of the host to read, instead of .ssh/authorized_keys in the home of the user

---Reach other hosts from the controller over SSH, and make, read and authorize keys anywhere; raises on failure.
---@class sshlib
ssh = {}

---Connect to a host, its key verified as ssh does; the functions are methods of the result. A plan does not connect.
---
---    local ok, message = pcall(ssh.connect, { host = "192.0.2.1", user = "deploy", timeout = 1 })
---@param host string|ssh.connect.args Host of the inventory or of ~/.ssh/config, name or address
---@param user? string Who logs in; by default what the inventory and ~/.ssh/config say
---@param args? ssh.connect.args
---@return any # {success, id, host}, with user and port where they were given
function ssh.connect(host, user, args) end

---Close a connection and its tunnels; the end of the run does that too.
---
---    local c = { success = true, id = "none" } -- what ssh.connect("web-01") returns
---    pcall(ssh.disconnect, c)
---@param connection any What connect returned; or a table with all arguments by name
---@return any # {success, changed, …}
function ssh.disconnect(connection) end
ssh.close = ssh.disconnect

---Run a command on the host; its failure is in the result, a lost connection raises.
---
---    local c = { success = true, id = "none" } -- what ssh.connect("web-01") returns
---    pcall(ssh.exec, c, "uptime")
---@param connection any What connect returned; or a table with all arguments by name
---@param command? string Command line for the login shell
---@param args? ssh.exec.args
---@return any # {success, stdout, stderr, exit_code, error, changed, duration}
function ssh.exec(connection, command, args) end
ssh.run = ssh.exec
ssh.execute = ssh.exec

---Copy a file to the host: whole or not at all, and only when it differs.
---
---    local c = { success = true, id = "none" } -- what ssh.connect("web-01") returns
---    pcall(ssh.upload, { connection = c, local_path = "app.tar.gz", remote_path = "/tmp/app.tar.gz" })
---@param connection any What connect returned; or a table with all arguments by name
---@param local_path? string File of the controller, relative to the .sloth file
---@param remote_path? string Path on the host, absolute or from the home folder
---@param args? ssh.upload.args
---@return any # {success, changed, …}
function ssh.upload(connection, local_path, remote_path, args) end

---Copy a file from the host: whole or not at all, and only when it differs.
---
---    local c = { success = true, id = "none" } -- what ssh.connect("web-01") returns
---    pcall(ssh.download, c, "/etc/hostname", "hostname.txt")
---@param connection any What connect returned; or a table with all arguments by name
---@param remote_path? string Path on the host, absolute or from the home folder
---@param local_path? string File of the controller, relative to the .sloth file
---@param args? ssh.download.args
---@return any # {success, changed, …}
function ssh.download(connection, remote_path, local_path, args) end

---Copy the files of a folder to the host; what else is there stays.
---
---    local c = { success = true, id = "none" } -- what ssh.connect("web-01") returns
---    pcall(ssh.upload_dir, c, "site", "/srv/site")
---@param connection any What connect returned; or a table with all arguments by name
---@param local_path? string File of the controller, relative to the .sloth file
---@param remote_path? string Path on the host, absolute or from the home folder
---@param args? ssh.upload_dir.args
---@return any # {success, changed, files, copied}
function ssh.upload_dir(connection, local_path, remote_path, args) end

---Copy the files of a folder of the host; what else is there stays.
---
---    local c = { success = true, id = "none" } -- what ssh.connect("web-01") returns
---    pcall(ssh.download_dir, c, "/srv/site", "site")
---@param connection any What connect returned; or a table with all arguments by name
---@param remote_path? string Path on the host, absolute or from the home folder
---@param local_path? string File of the controller, relative to the .sloth file
---@param args? ssh.download_dir.args
---@return any # {success, changed, files, copied}
function ssh.download_dir(connection, remote_path, local_path, args) end

---Tell whether a path is there.
---
---    local c = { success = true, id = "none" } -- what ssh.connect("web-01") returns
---    pcall(ssh.exists, c, "/etc/hostname")
---@param connection any What connect returned; or a table with all arguments by name
---@param path? string Path on the host, absolute or from the home folder
---@return any # boolean
function ssh.exists(connection, path) end

---Describe a path; one that is not there is nil.
---
---    local c = { success = true, id = "none" } -- what ssh.connect("web-01") returns
---    pcall(ssh.stat, c, "/etc/hostname")
---@param connection any What connect returned; or a table with all arguments by name
---@param path? string Path on the host, absolute or from the home folder
---@return any # {path, name, type, mode, size, uid, gid, mtime, is_dir}
function ssh.stat(connection, path) end

---Describe what is in a folder.
---
---    local c = { success = true, id = "none" } -- what ssh.connect("web-01") returns
---    pcall(ssh.list_dir, c, "/etc")
---@param connection any What connect returned; or a table with all arguments by name
---@param path? string Path on the host, absolute or from the home folder
---@return any # list of what stat returns
function ssh.list_dir(connection, path) end
ssh.ls = ssh.list_dir

---Make a folder, and those above it.
---
---    local c = { success = true, id = "none" } -- what ssh.connect("web-01") returns
---    pcall(ssh.mkdir, c, "/srv/site", { mode = "0755" })
---@param connection any What connect returned; or a table with all arguments by name
---@param path? string Path on the host, absolute or from the home folder
---@param mode? string|number Mode of the folder
---@param args? ssh.mkdir.args
---@return any # {success, changed, …}
function ssh.mkdir(connection, path, mode, args) end

---Remove a file, or with recursive a folder and all in it; what is not there is fine.
---
---    local c = { success = true, id = "none" } -- what ssh.connect("web-01") returns
---    pcall(ssh.remove, c, "/tmp/app.tar.gz")
---@param connection any What connect returned; or a table with all arguments by name
---@param path? string Path on the host, absolute or from the home folder
---@param args? ssh.remove.args
---@return any # {success, changed, …}
function ssh.remove(connection, path, args) end
ssh.rm = ssh.remove

---Give a path another name, in place of what has it.
---
---    local c = { success = true, id = "none" } -- what ssh.connect("web-01") returns
---    pcall(ssh.rename, c, "/tmp/app.new", "/tmp/app")
---@param connection any What connect returned; or a table with all arguments by name
---@param from? string Path on the host
---@param to? string Its new name, in place of what has it
---@return any # {success, changed, …}
function ssh.rename(connection, from, to) end
ssh.move = ssh.rename

---Set the mode of a path.
---
---    local c = { success = true, id = "none" } -- what ssh.connect("web-01") returns
---    pcall(ssh.chmod, c, "/tmp/app", "0755")
---@param connection any What connect returned; or a table with all arguments by name
---@param path? string Path on the host, absolute or from the home folder
---@param mode? string|number The mode
---@return any # {success, changed, …}
function ssh.chmod(connection, path, mode) end

---Set owner and group of a path, by name or number.
---
---    local c = { success = true, id = "none" } -- what ssh.connect("web-01") returns
---    pcall(ssh.chown, c, "/tmp/app", "root", "root")
---@param connection any What connect returned; or a table with all arguments by name
---@param path? string Path on the host, absolute or from the home folder
---@param owner? string User, by name or number
---@param group? string Group, by name or number
---@return any # {success, changed, …}
function ssh.chown(connection, path, owner, group) end

---Listen on the controller, and forward to what the host can reach.
---
---    local c = { success = true, id = "none" } -- what ssh.connect("web-01") returns
---    pcall(ssh.create_tunnel, c, 0, "127.0.0.1", 5432)
---@param connection any What connect returned; or a table with all arguments by name
---@param local_port? integer Port of the controller; 0, the default, takes a free one
---@param remote_host? string Where to, as the host sees it
---@param remote_port? integer Port there
---@param args? ssh.create_tunnel.args
---@return any # {success, id, local_host, local_port, remote_host, remote_port}
function ssh.create_tunnel(connection, local_port, remote_host, remote_port, args) end
ssh.tunnel = ssh.create_tunnel

---End a tunnel and what goes through it.
---
---    pcall(ssh.close_tunnel, "tunnel-1")
---@param tunnel any What create_tunnel returned
---@return any # {success, changed, …}
function ssh.close_tunnel(tunnel) end

---Make a private key without a passphrase, and its .pub beside it, where there are none.
---
---    ssh.generate_keypair("/etc/deploy_key", { comment = "deploy" })
---@param path string|ssh.generate_keypair.args Private key file; the public key goes beside it, with .pub behind the name
---@param args? ssh.generate_keypair.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function ssh.generate_keypair(path, args) end
ssh.generate_key = ssh.generate_keypair

---Read a private key file of OpenSSH or PEM; the key itself is a secret.
---
---    local ok, key = pcall(ssh.load_private_key, "/root/.ssh/id_ed25519")
---@param path string|ssh.load_private_key.args Private key file
---@return any # {path, type, comment, public_key, fingerprint, encrypted, private_key}
function ssh.load_private_key(path) end

---Let keys log in as a user, each with the options said and no others.
---
---    ssh.add_authorized_key("root", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBhRcXGhT0mZr3l2Z2cY0d0b7wB4T3d9dmCqS6yE0qkV ann@example")
---@param user string|ssh.add_authorized_key.args User whom the keys let in
---@param key? string[]|string The public key, several lines of them, or a list; a line may begin with options
---@param args? ssh.add_authorized_key.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function ssh.add_authorized_key(user, key, args) end

---Let keys no longer log in as a user.
---
---    ssh.remove_authorized_key("root", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPt1MdqmbYEiaECdXDoAgDSYUulJuDnvFDG8TWutGXCy")
---@param user string|ssh.remove_authorized_key.args User whom the keys let in
---@param key? string[]|string The public key, several lines of them, or a list; a line may begin with options
---@param args? ssh.remove_authorized_key.args
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function ssh.remove_authorized_key(user, key, args) end

---List the keys that may log in as a user; lines that are no keys are left out.
---
---    local keys = ssh.list_authorized_keys("root")
---@param user string|ssh.list_authorized_keys.args User whom the keys let in
---@param args? ssh.list_authorized_keys.args
---@return any # list of {type, key, comment, options, fingerprint, line}
function ssh.list_authorized_keys(user, args) end
ssh.list_authorized_key = ssh.list_authorized_keys

---Tell whether a key may log in as a user.
---
---    local yes = ssh.key_exists("root", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBhRcXGhT0mZr3l2Z2cY0d0b7wB4T3d9dmCqS6yE0qkV")
---@param user string|ssh.key_exists.args User whom the key would let in
---@param key? string The public key, as its .pub file has it; its comment does not matter
---@param args? ssh.key_exists.args
---@return any # boolean
function ssh.key_exists(user, key, args) end

---@class git.clone.args
---@field url? string Address of the repository
---@field repo? string Address of the repository
---@field path? string Folder of the clone
---@field dest? string Folder of the clone
---@field branch? string Branch, tag or commit to have; by default the branch that is checked out, at first the remote's own
---@field ref? string Branch, tag or commit to have; by default the branch that is checked out, at first the remote's own
---@field tag? string Branch, tag or commit to have; by default the branch that is checked out, at first the remote's own
---@field version? string Branch, tag or commit to have; by default the branch that is checked out, at first the remote's own
---@field depth? integer Fetches only so many commits when it clones
---@field clean? boolean Throws away local changes and untracked files of a clone that is there
---@field submodules? boolean Brings submodules along
---@field recursive? boolean Brings submodules along
---@field username? string User name for https
---@field password? string Password or token for https; it is handed over in a file that only git reads
---@field token? string Password or token for https; it is handed over in a file that only git reads
---@field env? table<string, string> Further variables of the environment
---@field timeout? string|number Kills git after this long

---@class git.checkout.args
---@field repo? any The repository: what clone gave, or its folder; required
---@field path? any The repository: what clone gave, or its folder; required
---@field ref? string Branch, tag or commit; required
---@field branch? string Branch, tag or commit; required
---@field tag? string Branch, tag or commit; required
---@field create? boolean Makes the branch when there is none
---@field force? boolean Throws local changes away
---@field username? string User name for https
---@field password? string Password or token for https; it is handed over in a file that only git reads
---@field token? string Password or token for https; it is handed over in a file that only git reads
---@field env? table<string, string> Further variables of the environment
---@field timeout? string|number Kills git after this long

---@class git.pull.args
---@field repo? any The repository: what clone gave, or its folder; required
---@field path? any The repository: what clone gave, or its folder; required
---@field remote? string Where to pull from
---@field branch? string Which branch of it; by default the one that this one follows
---@field rebase? boolean Puts commits of one's own on top instead of refusing
---@field username? string User name for https
---@field password? string Password or token for https; it is handed over in a file that only git reads
---@field token? string Password or token for https; it is handed over in a file that only git reads
---@field env? table<string, string> Further variables of the environment
---@field timeout? string|number Kills git after this long

---@class git.push.args
---@field repo? any The repository: what clone gave, or its folder; required
---@field path? any The repository: what clone gave, or its folder; required
---@field remote? string Where to push to
---@field branch? string Branch to push; by default the one that is checked out
---@field tags? boolean Pushes all tags too
---@field set_upstream? boolean Lets the branch follow the pushed one
---@field force? boolean Replaces what is there, unless somebody pushed since the last fetch
---@field username? string User name for https
---@field password? string Password or token for https; it is handed over in a file that only git reads
---@field token? string Password or token for https; it is handed over in a file that only git reads
---@field env? table<string, string> Further variables of the environment
---@field timeout? string|number Kills git after this long

---@class git.commit.args
---@field repo? any The repository: what clone gave, or its folder; required
---@field path? any The repository: what clone gave, or its folder; required
---@field message? string Message of the commit; required
---@field msg? string Message of the commit; required
---@field files? string[]|string Only these; by default everything that changed, new files too
---@field paths? string[]|string Only these; by default everything that changed, new files too
---@field name? string Name of the author; by default git's configuration
---@field email? string Address of the author
---@field allow_empty? boolean Commits even when nothing changed
---@field username? string User name for https
---@field password? string Password or token for https; it is handed over in a file that only git reads
---@field token? string Password or token for https; it is handed over in a file that only git reads
---@field env? table<string, string> Further variables of the environment
---@field timeout? string|number Kills git after this long

---@class git.status.args
---@field repo? any The repository: what clone gave, or its folder; required
---@field path? any The repository: what clone gave, or its folder; required

---@class git.is_repo.args
---@field path? string Folder to look at

---@class git.ensure_clean.args
---@field repo? any The repository: what clone gave, or its folder; required
---@field path? any The repository: what clone gave, or its folder; required
---@field discard? boolean Throws the changes away instead of raising
---@field username? string User name for https
---@field password? string Password or token for https; it is handed over in a file that only git reads
---@field token? string Password or token for https; it is handed over in a file that only git reads
---@field env? table<string, string> Further variables of the environment
---@field timeout? string|number Kills git after this long

---Clone, update, commit and push repositories; raises when git fails.
---@class gitlib
git = {}

---Clone a repository, or bring the clone that is there up to date.
---
---    local ok, repo = pcall(git.clone, "/srv/none.git", "/tmp/none", { branch = "main" })
---@param url string|git.clone.args Address of the repository
---@param path? string Folder of the clone
---@param args? git.clone.args
---@return any # the repository {success, changed, path, url, head, branch, …}, with the functions as methods
function git.clone(url, path, args) end

---Check out a branch, tag or commit; what is not there yet is fetched.
---
---    local ok, r = pcall(git.checkout, "/srv/app", "v1.2")
---@param repo? any The repository: what clone gave, or its folder; required
---@param ref? string Branch, tag or commit; required
---@param args? git.checkout.args
---@return any # {success, changed, path, head, branch, exit_code, stdout, stderr}
function git.checkout(repo, ref, args) end

---Fetch and fast-forward the current branch.
---
---    local ok, r = pcall(git.pull, "/srv/app")
---@param repo? any The repository: what clone gave, or its folder; required
---@param branch? string Which branch of it; by default the one that this one follows
---@param args? git.pull.args
---@return any # {success, changed, path, head, branch, exit_code, stdout, stderr}
function git.pull(repo, branch, args) end

---Push the current branch.
---
---    local ok, r = pcall(git.push, "/srv/app", { tags = true })
---@param repo? any The repository: what clone gave, or its folder; required
---@param branch? string Branch to push; by default the one that is checked out
---@param args? git.push.args
---@return any # {success, changed, path, head, branch, exit_code, stdout, stderr}
function git.push(repo, branch, args) end

---Commit what has changed; with nothing changed it does nothing.
---
---    local ok, r = pcall(git.commit, "/srv/app", "Update the configuration")
---@param repo? any The repository: what clone gave, or its folder; required
---@param message? string Message of the commit; required
---@param args? git.commit.args
---@return any # {success, changed, path, head, branch, exit_code, stdout, stderr}
function git.commit(repo, message, args) end

---Tell the state of a working tree.
---
---    local ok, s = pcall(git.status, "/srv/app")
---@param repo? any The repository: what clone gave, or its folder; required
---@return any # {clean, branch, head, upstream, ahead, behind, files = {{path, status}, …}}
function git.status(repo) end

---Tell whether a folder is a git repository.
---
---    local yes = git.is_repo("/srv/app")
---@param path string|git.is_repo.args Folder to look at
---@return any # boolean
function git.is_repo(path) end

---Raise unless the working tree has no changes, or with discard throw them away.
---
---    local ok, why = pcall(git.ensure_clean, "/srv/app")
---@param repo? any The repository: what clone gave, or its folder; required
---@param args? git.ensure_clean.args
---@return any # {success, changed, path, head, branch, exit_code, stdout, stderr}
function git.ensure_clean(repo, args) end

---@class terraform.init.args
---@field workdir? string Folder with the files; the task's own by default
---@field dir? string Folder with the files; the task's own by default
---@field path? string Folder with the files; the task's own by default
---@field upgrade? boolean Takes newer providers and modules
---@field reconfigure? boolean Forgets the backend that was used before
---@field backend? boolean Prepares the backend
---@field backend_config? any Settings of the backend as a table, or a file with them; they may be secrets
---@field env? table<string, string> Further variables of the environment
---@field timeout? string|number Stops the program after this long
---@field binary? string Program to run; by default terraform, else tofu

---@class terraform.plan.args
---@field client? any The folder: what init gave, or its path; the task's own by default
---@field workdir? any The folder: what init gave, or its path; the task's own by default
---@field dir? any The folder: what init gave, or its path; the task's own by default
---@field env? table<string, string> Further variables of the environment
---@field timeout? string|number Stops the program after this long
---@field binary? string Program to run; by default terraform, else tofu
---@field out? string File to keep the plan in, for apply
---@field destroy? boolean Plans to destroy everything
---@field refresh? boolean Looks at the real infrastructure first; true by default
---@field var_file? any File of variables, or a list of them, as seen from the folder
---@field var_files? any File of variables, or a list of them, as seen from the folder
---@field vars? table Values of variables; they win over files, and may be secrets
---@field variables? table Values of variables; they win over files, and may be secrets
---@field target? string[]|string Only these resources and what they need
---@field targets? string[]|string Only these resources and what they need

---@class terraform.apply.args
---@field client? any The folder: what init gave, or its path; the task's own by default
---@field workdir? any The folder: what init gave, or its path; the task's own by default
---@field dir? any The folder: what init gave, or its path; the task's own by default
---@field env? table<string, string> Further variables of the environment
---@field timeout? string|number Stops the program after this long
---@field binary? string Program to run; by default terraform, else tofu
---@field plan? string File that plan kept; it holds the variables already
---@field auto_approve? boolean Says that the changes are wanted; needed without a plan, as nobody can be asked
---@field var_file? any File of variables, or a list of them, as seen from the folder
---@field var_files? any File of variables, or a list of them, as seen from the folder
---@field vars? table Values of variables; they win over files, and may be secrets
---@field variables? table Values of variables; they win over files, and may be secrets
---@field target? string[]|string Only these resources and what they need
---@field targets? string[]|string Only these resources and what they need

---@class terraform.destroy.args
---@field client? any The folder: what init gave, or its path; the task's own by default
---@field workdir? any The folder: what init gave, or its path; the task's own by default
---@field dir? any The folder: what init gave, or its path; the task's own by default
---@field env? table<string, string> Further variables of the environment
---@field timeout? string|number Stops the program after this long
---@field binary? string Program to run; by default terraform, else tofu
---@field auto_approve? boolean Says that everything may be destroyed; needed, as nobody can be asked
---@field var_file? any File of variables, or a list of them, as seen from the folder
---@field var_files? any File of variables, or a list of them, as seen from the folder
---@field vars? table Values of variables; they win over files, and may be secrets
---@field variables? table Values of variables; they win over files, and may be secrets
---@field target? string[]|string Only these resources and what they need
---@field targets? string[]|string Only these resources and what they need

---@class terraform.validate.args
---@field client? any The folder: what init gave, or its path; the task's own by default
---@field workdir? any The folder: what init gave, or its path; the task's own by default
---@field dir? any The folder: what init gave, or its path; the task's own by default
---@field env? table<string, string> Further variables of the environment
---@field timeout? string|number Stops the program after this long
---@field binary? string Program to run; by default terraform, else tofu

---@class terraform.fmt.args
---@field client? any The folder: what init gave, or its path; the task's own by default
---@field workdir? any The folder: what init gave, or its path; the task's own by default
---@field dir? any The folder: what init gave, or its path; the task's own by default
---@field env? table<string, string> Further variables of the environment
---@field timeout? string|number Stops the program after this long
---@field binary? string Program to run; by default terraform, else tofu
---@field check? boolean Only tells which files would change
---@field recursive? boolean Folders below too

---@class terraform.output.args
---@field client? any The folder: what init gave, or its path; the task's own by default
---@field workdir? any The folder: what init gave, or its path; the task's own by default
---@field dir? any The folder: what init gave, or its path; the task's own by default
---@field env? table<string, string> Further variables of the environment
---@field timeout? string|number Stops the program after this long
---@field binary? string Program to run; by default terraform, else tofu
---@field name? string Only this one, as value

---@class terraform.create_tfvars.args
---@field client? any The folder: what init gave, or its path; the task's own by default
---@field workdir? any The folder: what init gave, or its path; the task's own by default
---@field dir? any The folder: what init gave, or its path; the task's own by default
---@field file? string Name of the file, as seen from the folder; required
---@field filename? string Name of the file, as seen from the folder; required
---@field path? string Name of the file, as seen from the folder; required
---@field values? table The variables; a file with secrets is only readable by its owner
---@field vars? table The variables; a file with secrets is only readable by its owner
---@field variables? table The variables; a file with secrets is only readable by its owner

---Plan and apply infrastructure with terraform or tofu, whichever is there.
---@class terraformlib
terraform = {}

---Prepare a folder; the result is a client for it.
---
---    local client = terraform.init("/tmp/none")
---@param workdir? string|terraform.init.args Folder with the files; the task's own by default
---@param args? terraform.init.args
---@return any # {workdir, success, changed, exit_code, stdout, stderr, error, duration}, with the functions as methods
function terraform.init(workdir, args) end

---Tell what apply would change.
---
---    local p = terraform.plan({ workdir = "/tmp/none", out = "tfplan" })
---@param client? any The folder: what init gave, or its path; the task's own by default
---@param args? terraform.plan.args
---@return any # {has_changes, add, change, destroy, success, changed, exit_code, stdout, stderr, error, duration}
function terraform.plan(client, args) end

---Change the infrastructure to what the files say.
---
---    local a = terraform.apply({ workdir = "/tmp/none", auto_approve = true })
---@param client? any The folder: what init gave, or its path; the task's own by default
---@param args? terraform.apply.args
---@return any # {add, change, destroy, outputs, success, changed, exit_code, stdout, stderr, error, duration}
function terraform.apply(client, args) end

---Destroy the infrastructure.
---
---    local d = terraform.destroy({ workdir = "/tmp/none", auto_approve = true })
---@param client? any The folder: what init gave, or its path; the task's own by default
---@param args? terraform.destroy.args
---@return any # {destroy, success, changed, exit_code, stdout, stderr, error, duration}
function terraform.destroy(client, args) end

---Check the files.
---
---    local v = terraform.validate("/tmp/none")
---@param client? any The folder: what init gave, or its path; the task's own by default
---@param args? terraform.validate.args
---@return any # {diagnostics = {{severity, summary, detail, file, line}, …}, success, changed, exit_code, stdout, stderr, error, duration}
function terraform.validate(client, args) end

---Put the files into their usual form.
---
---    local f = terraform.fmt({ workdir = "/tmp/none", check = true })
---@param client? any The folder: what init gave, or its path; the task's own by default
---@param args? terraform.fmt.args
---@return any # {files, success, changed, exit_code, stdout, stderr, error, duration}
function terraform.fmt(client, args) end

---Give the outputs, or one of them; sensitive ones are secrets.
---
---    local o = terraform.output("/tmp/none")
---@param client? any The folder: what init gave, or its path; the task's own by default
---@param name? string Only this one, as value
---@param args? terraform.output.args
---@return any # {outputs, value, success, changed, exit_code, stdout, stderr, error, duration}
function terraform.output(client, name, args) end

---Write a file of variables, as JSON when its name ends so.
---
---    local t = terraform.create_tfvars("/srv/app", "terraform.tfvars", { region = "eu" })
---@param client? any The folder: what init gave, or its path; the task's own by default
---@param file? string Name of the file, as seen from the folder; required
---@param values? table The variables; a file with secrets is only readable by its owner
---@return {success: boolean, changed: boolean, message: string, diff: table[]}
function terraform.create_tfvars(client, file, values) end

---@class data.parse_json.args
---@field text? string JSON text
---@field json? string JSON text

---@class data.to_json.args
---@field value? any What to write; nil is null
---@field indent? integer Blanks for each level; 0 writes one line
---@field pretty? boolean The same as indent = 2

---@class data.json_pretty.args
---@field value? any What to write; nil is null
---@field indent? integer Blanks for each level; 0 writes one line
---@field pretty? boolean The same as indent = 2

---@class data.json_validate.args
---@field text? string Text to look at
---@field json? string Text to look at

---@class data.parse_yaml.args
---@field text? string YAML text
---@field yaml? string YAML text
---@field all? boolean Gives a list of all documents in the text, instead of its only one

---@class data.to_yaml.args
---@field value? any What to write
---@field indent? integer Blanks for each level

---@class data.yaml_to_json.args
---@field text? string YAML text
---@field yaml? string YAML text
---@field indent? integer Blanks for each level; 0 writes one line

---@class data.json_to_yaml.args
---@field text? string JSON text
---@field json? string JSON text
---@field indent? integer Blanks for each level

---@class data.csv_parse.args
---@field text? string CSV text
---@field csv? string CSV text
---@field header? boolean The first line names the columns; without, rows are lists
---@field separator? string One character between fields
---@field delimiter? string One character between fields
---@field sep? string One character between fields
---@field comment? string Lines that begin with this character are passed over

---@class data.csv_generate.args
---@field rows? any[] List of tables, or of lists
---@field columns? string[]|string Which columns, in order; by default all of them, sorted
---@field fields? string[]|string Which columns, in order; by default all of them, sorted
---@field header? boolean Begins with the names of the columns when the rows are tables, or columns are given
---@field separator? string One character between fields
---@field delimiter? string One character between fields
---@field sep? string One character between fields

---@class data.xml_decode.args
---@field text? string XML text
---@field xml? string XML text

---@class data.xml_encode.args
---@field value? any Element {name, attrs, text, children}, or with root any table: keys are elements, lists repeat them
---@field root? string Name of the element around a plain table
---@field indent? integer Blanks for each level; 0 writes one line
---@field header? boolean Begins with the XML declaration
---@field declaration? boolean Begins with the XML declaration

---@class data.deep_merge.args
---@field base? any Table to begin with
---@field over? any Table whose values win
---@field more? any One more table, which wins over both
---@field most? any And one more
---@field lists? "replace"|"append" What happens where both have a list

---@class data.flatten.args
---@field value? any Nested table
---@field separator? string What stands between the parts of a key
---@field sep? string What stands between the parts of a key

---@class data.unflatten.args
---@field value? any Table with keys such as "db.port"
---@field separator? string What stands between the parts of a key
---@field sep? string What stands between the parts of a key

---@class data.get_path.args
---@field value? any Table to look into
---@field path? any Such as "db.ports[1]", or a list of keys
---@field default? any Given when there is nothing

---@class data.set_path.args
---@field value? any Table to copy
---@field path? any Such as "db.ports[1]", or a list of keys; tables on the way are made
---@field to? any The new value; nil removes the old one
---@field new? any The new value; nil removes the old one

---@class data.validate.args
---@field value? any What to check
---@field schema? any The schema, as a table or as JSON text

---Read and write JSON, YAML, CSV and XML; merge, flatten and check tables.
---@class datalib
data = {}

---Read JSON text; raises with line and column when it is none.
---
---    local v = data.parse_json('{"port": 8080}')
---@param text string|data.parse_json.args JSON text
---@return any # the value
function data.parse_json(text) end
data.json_decode = data.parse_json

---Write a value as JSON; what holds a secret becomes a secret.
---
---    local text = data.to_json({ port = 8080 })
---@param value? any What to write; nil is null
---@param args? data.to_json.args
---@return any # text
function data.to_json(value, args) end
data.json_encode = data.to_json

---Write a value as indented JSON, or indent JSON text.
---
---    local text = data.json_pretty({ port = 8080 })
---@param value? any What to write; nil is null
---@param args? data.json_pretty.args
---@return any # text
function data.json_pretty(value, args) end

---Tell whether a text is JSON.
---
---    local ok, message = data.json_validate('{"port": 8080}')
---@param text string|data.json_validate.args Text to look at
---@return any # ok, message
function data.json_validate(text) end

---Read YAML text; raises with the line when it is none.
---
---    local v = data.parse_yaml("port: 8080")
---@param text string|data.parse_yaml.args YAML text
---@param args? data.parse_yaml.args
---@return any # the value
function data.parse_yaml(text, args) end
data.yaml_decode = data.parse_yaml

---Write a value as YAML; what holds a secret becomes a secret.
---
---    local text = data.to_yaml({ port = 8080 })
---@param value? any What to write
---@param args? data.to_yaml.args
---@return any # text
function data.to_yaml(value, args) end
data.yaml_encode = data.to_yaml

---Turn YAML text into JSON text; keys keep their order.
---
---    local text = data.yaml_to_json("port: 8080")
---@param text string|data.yaml_to_json.args YAML text
---@param args? data.yaml_to_json.args
---@return any # text
function data.yaml_to_json(text, args) end

---Turn JSON text into YAML text; keys keep their order.
---
---    local text = data.json_to_yaml('{"port": 8080}')
---@param text string|data.json_to_yaml.args JSON text
---@param args? data.json_to_yaml.args
---@return any # text
function data.json_to_yaml(text, args) end

---Read CSV text: a list of tables by the names in its first line.
---
---    local rows = data.csv_parse("name,port\nweb,80\n")
---@param text string|data.csv_parse.args CSV text
---@param args? data.csv_parse.args
---@return any # list of tables, or of lists with header = false
function data.csv_parse(text, args) end

---Write a list of tables, or of lists, as CSV.
---
---    local text = data.csv_generate({ { name = "web", port = 80 } })
---@param rows any[]|data.csv_generate.args List of tables, or of lists
---@param args? data.csv_generate.args
---@return any # text
function data.csv_generate(rows, args) end

---Read XML text.
---
---    local doc = data.xml_decode('<a id="1"><b>text</b></a>')
---@param text string|data.xml_decode.args XML text
---@return any # {name, attrs = {}, text, children = {…}}
function data.xml_decode(text) end
data.parse_xml = data.xml_decode

---Write an element as xml_decode gives it, or a plain table below a root, as XML.
---
---    local text = data.xml_encode({ port = 8080 }, { root = "server" })
---@param value any Element {name, attrs, text, children}, or with root any table: keys are elements, lists repeat them
---@param args? data.xml_encode.args
---@return any # text
function data.xml_encode(value, args) end
data.to_xml = data.xml_encode

---Merge tables into a new one; a later one wins, tables in them are merged too.
---
---    local all = data.deep_merge({ a = { x = 1 } }, { a = { y = 2 } })
---@param base any Table to begin with
---@param over? any Table whose values win
---@param more? any One more table, which wins over both
---@param most? any And one more
---@param lists? "replace"|"append" What happens where both have a list
---@return any # table
function data.deep_merge(base, over, more, most, lists) end
data.merge = data.deep_merge

---Turn nested tables into one with keys such as "db.port".
---
---    local flat = data.flatten({ db = { port = 5432 } })
---@param value any Nested table
---@param separator? string What stands between the parts of a key
---@return any # table
function data.flatten(value, separator) end

---Undo flatten.
---
---    local nested = data.unflatten({ ["db.port"] = 5432 })
---@param value any Table with keys such as "db.port"
---@param separator? string What stands between the parts of a key
---@return any # table
function data.unflatten(value, separator) end

---Find a value deep in a table.
---
---    local port = data.get_path({ db = { ports = { 5432 } } }, "db.ports[1]", 0)
---@param value? any Table to look into
---@param path? any Such as "db.ports[1]", or a list of keys
---@param default? any Given when there is nothing
---@return any # the value, or the default
function data.get_path(value, path, default) end

---Copy a table with one value deep in it set; nil removes it.
---
---    local changed = data.set_path({ db = {} }, "db.port", 5432)
---@param value any Table to copy
---@param path? any Such as "db.ports[1]", or a list of keys; tables on the way are made
---@param to? any The new value; nil removes the old one
---@return any # the changed copy
function data.set_path(value, path, to) end

---Check a value against a JSON Schema.
---
---    local ok, message = data.validate({ port = 80 }, { properties = { port = { type = "integer" } } })
---@param value? any What to check
---@param schema? any The schema, as a table or as JSON text
---@return any # ok, message
function data.validate(value, schema) end

---@class state.set.args
---@field key? string Name of the value; up to 512 bytes
---@field value? any Text, number, boolean or table; up to 1 MiB
---@field ttl? string|number Seconds, or text such as "5m", after which it is gone; 0 is never

---@class state.get.args
---@field key? string Name of the value; up to 512 bytes
---@field default? any What to return when there is no value

---@class state.delete.args
---@field key? string Name of the value; up to 512 bytes

---@class state.exists.args
---@field key? string Name of the value; up to 512 bytes

---@class state.keys.args
---@field pattern? string Which keys: * stands for any text, ? for one character, [a-c] for one of a set

---@class state.clear.args
---@field pattern? string Which keys, as in keys

---@class state.set_ttl.args
---@field key? string Name of the value; up to 512 bytes
---@field ttl? string|number Seconds from now, or text such as "5m"; 0 is never

---@class state.get_ttl.args
---@field key? string Name of the value; up to 512 bytes

---@class state.increment.args
---@field key? string Name of the value; up to 512 bytes
---@field by? number How much to add
---@field n? number How much to add

---@class state.decrement.args
---@field key? string Name of the value; up to 512 bytes
---@field by? number How much to subtract
---@field n? number How much to subtract

---@class state.append.args
---@field key? string Name of the value; up to 512 bytes
---@field value? any What to put at the end

---@class state.list_push.args
---@field key? string Name of the value; up to 512 bytes
---@field value? any What to put at the end

---@class state.list_pop.args
---@field key? string Name of the value; up to 512 bytes

---@class state.list_length.args
---@field key? string Name of the value; up to 512 bytes

---@class state.compare_swap.args
---@field key? string Name of the value; up to 512 bytes
---@field old? any What the value must be; nil: there must be none
---@field new? any What it becomes; nil deletes it

---@class state.with_lock.args
---@field name? string Name of the lock
---@field fn? function What to run; it is ended when the lock is lost
---@field timeout? string|number How long to wait for the lock, in seconds or text such as "5m"

---@class state.lock.args
---@field name? string Name of the lock
---@field timeout? string|number How long to wait for it, in seconds or text such as "5m"

---@class state.try_lock.args
---@field name? string Name of the lock

---@class state.unlock.args
---@field name? string Name of the lock

---Share values between tasks, hosts and runs of a stack; they keep their type.
---@class statelib
state = {}

---Store a value; nil deletes it. The task reads it at once; others once the task ends, calls one of the atomic functions below, or a second has passed.
---
---    state.set("release", { version = "1.4", hosts = 3 }, 3600)
---@param key string|state.set.args Name of the value; up to 512 bytes
---@param value? any Text, number, boolean or table; up to 1 MiB
---@param ttl? string|number Seconds, or text such as "5m", after which it is gone; 0 is never
---@return any # true
function state.set(key, value, ttl) end

---Read a value.
---
---    local version = state.get("version", "none")
---@param key string|state.get.args Name of the value; up to 512 bytes
---@param default? any What to return when there is no value
---@return any # the value, or default
function state.get(key, default) end

---Delete a value.
---
---    state.delete("version")
---@param key string|state.delete.args Name of the value; up to 512 bytes
---@return any # whether it existed
function state.delete(key) end

---Ask whether a key has a value.
---
---    if state.exists("version") then log.info("deployed before") end
---@param key string|state.exists.args Name of the value; up to 512 bytes
---@return any # true or false
function state.exists(key) end

---List the keys that a pattern matches.
---
---    for _, key in ipairs(state.keys("release/*")) do log.info(key) end
---@param pattern? string|state.keys.args Which keys: * stands for any text, ? for one character, [a-c] for one of a set
---@return any # a sorted list
function state.keys(pattern) end

---Delete the values whose keys a pattern matches.
---
---    state.clear("cache/*")
---@param pattern? string|state.clear.args Which keys, as in keys
---@return any # how many there were
function state.clear(pattern) end

---Count what the stack keeps.
---
---    log.info(state.stats().keys .. " keys")
---@return any # {stack, keys, bytes, expiring, locks}
function state.stats() end

---Let an existing value expire.
---
---    state.set_ttl("version", "10m")
---@param key string|state.set_ttl.args Name of the value; up to 512 bytes
---@param ttl? string|number Seconds from now, or text such as "5m"; 0 is never
---@return any # whether the key has a value
function state.set_ttl(key, ttl) end

---Ask how long a value stays.
---
---    local left = state.get_ttl("version")
---@param key string|state.get_ttl.args Name of the value; up to 512 bytes
---@return any # seconds, -1 for ever, nil without a value
function state.get_ttl(key) end

---Add to a number; without a value it counts as 0.
---
---    local n = state.increment("deployments")
---@param key string|state.increment.args Name of the value; up to 512 bytes
---@param by? number How much to add
---@return any # the new number
function state.increment(key, by) end

---Subtract from a number; without a value it counts as 0.
---
---    local n = state.decrement("free_slots", 2)
---@param key string|state.decrement.args Name of the value; up to 512 bytes
---@param by? number How much to subtract
---@return any # the new number
function state.decrement(key, by) end

---Put text behind a text, or a value behind a list.
---
---    state.append("journal", "deployed\n")
---@param key string|state.append.args Name of the value; up to 512 bytes
---@param value? any What to put at the end
---@return any # the new length
function state.append(key, value) end

---Put a value at the end of a list.
---
---    state.list_push("queue", { host = "web-01" })
---@param key string|state.list_push.args Name of the value; up to 512 bytes
---@param value? any What to put at the end
---@return any # the new length
function state.list_push(key, value) end

---Take the value at the end of a list away.
---
---    local job = state.list_pop("queue")
---@param key string|state.list_pop.args Name of the value; up to 512 bytes
---@return any # the value, nil when the list is empty
function state.list_pop(key) end

---Count the values of a list.
---
---    local n = state.list_length("queue")
---@param key string|state.list_length.args Name of the value; up to 512 bytes
---@return any # a number, 0 without a list
function state.list_length(key) end

---Replace a value if it is still the old one.
---
---    local mine = state.compare_swap("leader", nil, "web-01")
---@param key string|state.compare_swap.args Name of the value; up to 512 bytes
---@param old? any What the value must be; nil: there must be none
---@param new? any What it becomes; nil deletes it
---@return any # whether it was
function state.compare_swap(key, old, new) end

---Run a function while nobody else holds the lock.
---
---    local n = state.with_lock("deploy", function() return state.increment("n") end, 30)
---@param name string|state.with_lock.args Name of the lock
---@param fn? function What to run; it is ended when the lock is lost
---@param timeout? string|number How long to wait for the lock, in seconds or text such as "5m"
---@return any # what the function returns
function state.with_lock(name, fn, timeout) end

---Take a lock, waiting for it; raises when it is not free in time. It is given back at the end of the run.
---
---    state.lock("migration", 60)
---    state.unlock("migration")
---@param name string|state.lock.args Name of the lock
---@param timeout? string|number How long to wait for it, in seconds or text such as "5m"
---@return any # true
function state.lock(name, timeout) end

---Take a lock if it is free.
---
---    if state.try_lock("backup") then state.unlock("backup") end
---@param name string|state.try_lock.args Name of the lock
---@return any # whether it was
function state.try_lock(name) end

---Give back a lock that this run took.
---
---    state.unlock("migration")
---@param name string|state.unlock.args Name of the lock
---@return any # whether this run held it
function state.unlock(name) end

---@class log.debug.args
---@field message? any Text; other values are written as Lua would
---@field msg? any Text; other values are written as Lua would
---@field context? any Table of details to show with it
---@field fields? any Table of details to show with it

---@class log.info.args
---@field message? any Text; other values are written as Lua would
---@field msg? any Text; other values are written as Lua would
---@field context? any Table of details to show with it
---@field fields? any Table of details to show with it

---@class log.warn.args
---@field message? any Text; other values are written as Lua would
---@field msg? any Text; other values are written as Lua would
---@field context? any Table of details to show with it
---@field fields? any Table of details to show with it

---@class log.error.args
---@field message? any Text; other values are written as Lua would
---@field msg? any Text; other values are written as Lua would
---@field context? any Table of details to show with it
---@field fields? any Table of details to show with it

---@class log.success.args
---@field message? any Text; other values are written as Lua would
---@field msg? any Text; other values are written as Lua would
---@field context? any Table of details to show with it
---@field fields? any Table of details to show with it

---@class log.print.args
---@field message? any Text; other values are written as Lua would
---@field msg? any Text; other values are written as Lua would
---@field context? any Table of details to show with it
---@field fields? any Table of details to show with it

---@class log.table.args
---@field value? any What to show
---@field rows? any What to show
---@field title? string Line above it

---Write to the output of the run.
---@class loglib
log = {}

---Write a line for those who ask for more with -v.
---
---    log.debug("deployed", { version = "1.2" })
---@param message? any Text; other values are written as Lua would
---@param context? any Table of details to show with it
---@return any # nothing
function log.debug(message, context) end

---Write a line.
---
---    log.info("deployed", { version = "1.2" })
---@param message? any Text; other values are written as Lua would
---@param context? any Table of details to show with it
---@return any # nothing
function log.info(message, context) end

---Write a warning.
---
---    log.warn("deployed", { version = "1.2" })
---@param message? any Text; other values are written as Lua would
---@param context? any Table of details to show with it
---@return any # nothing
function log.warn(message, context) end
log.warning = log.warn

---Write an error; the task goes on.
---
---    log.error("deployed", { version = "1.2" })
---@param message? any Text; other values are written as Lua would
---@param context? any Table of details to show with it
---@return any # nothing
function log.error(message, context) end

---Write that something went well.
---
---    log.success("deployed", { version = "1.2" })
---@param message? any Text; other values are written as Lua would
---@param context? any Table of details to show with it
---@return any # nothing
function log.success(message, context) end

---Write text as it is, without a level.
---
---    log.print("deployed", { version = "1.2" })
---@param message? any Text; other values are written as Lua would
---@param context? any Table of details to show with it
---@return any # nothing
function log.print(message, context) end

---Write a table: a list of tables in columns, anything else as keys and values.
---
---    log.table({ { name = "a", size = 1 }, { name = "b", size = 22 } }, "volumes")
---@param value? any What to show
---@param title? string Line above it
---@return any # nothing
function log.table(value, title) end

---@class utils.env.args
---@field name? string Name of the variable
---@field key? string Name of the variable
---@field default? any Given when there is no such variable

---@class utils.config.args
---@field path? string Such as "app.port" or "servers[1]"
---@field key? string Such as "app.port" or "servers[1]"
---@field name? string Such as "app.port" or "servers[1]"
---@field default? any Given when the host has no such variable

---@class utils.secret.args
---@field name? string Name of the secret

---@class utils.random.args
---@field length? integer How many characters
---@field secret? boolean Gives a secret, which is never shown

---@class utils.hash.args
---@field text? string What to hash; the hash of a secret is a secret
---@field algorithm? "md5"|"sha1"|"sha256"|"sha512" How to hash
---@field algo? "md5"|"sha1"|"sha256"|"sha512" How to hash

---@class utils.hash_file.args
---@field path? string File on the host
---@field algorithm? "md5"|"sha1"|"sha256"|"sha512" How to hash
---@field algo? "md5"|"sha1"|"sha256"|"sha512" How to hash

---@class utils.base64.args
---@field text? string The text; what is made of a secret is a secret

---@class utils.base64_decode.args
---@field text? string The text; what is made of a secret is a secret

---@class utils.hex.args
---@field text? string The text; what is made of a secret is a secret

---@class utils.hex_decode.args
---@field text? string The text; what is made of a secret is a secret

---@class utils.url_encode.args
---@field text? string The text; what is made of a secret is a secret

---@class utils.url_decode.args
---@field text? string The text; what is made of a secret is a secret

---Environment, configuration, secrets, identifiers, hashes and encodings.
---@class utilslib
utils = {}

---Give a variable of the environment a command of this task would see.
---
---    local home = utils.env("HOME", "/")
---@param name string|utils.env.args Name of the variable
---@param default? any Given when there is no such variable
---@return any # text, or the default
function utils.env(name, default) end

---Give a setting of this host: a variable of the inventory, found by its path.
---
---    local port = utils.config("app.port", 8080)
---@param path string|utils.config.args Such as "app.port" or "servers[1]"
---@param default? any Given when the host has no such variable
---@return any # the value, or the default
function utils.config(path, default) end

---Give a secret by its name; it is never shown.
---
---    local ok, password = pcall(utils.secret, "db_password")
---@param name string|utils.secret.args Name of the secret
---@return any # the secret
function utils.secret(name) end

---Make a new random identifier.
---
---    local id = utils.uuid()
---@return any # text such as "3f0c1d5e-8a4b-4c8e-9d7a-2b1e6f5a4c3d"
function utils.uuid() end

---Make random text of letters and digits, as a secret when asked.
---
---    local token = utils.random(24)
---@param length? integer|utils.random.args How many characters
---@param args? utils.random.args
---@return any # text
function utils.random(length, args) end
utils.random_string = utils.random

---Hash text.
---
---    local sum = utils.hash("text", "sha256")
---@param text string|utils.hash.args What to hash; the hash of a secret is a secret
---@param algorithm? "md5"|"sha1"|"sha256"|"sha512" How to hash
---@return any # hexadecimal digits
function utils.hash(text, algorithm) end

---Hash a file of the host.
---
---    local sum = utils.hash_file("/etc/hostname")
---@param path string|utils.hash_file.args File on the host
---@param algorithm? "md5"|"sha1"|"sha256"|"sha512" How to hash
---@return any # hexadecimal digits
function utils.hash_file(path, algorithm) end

---Encode text in Base64.
---
---    local text = utils.base64("hello")
---@param text string|utils.base64.args The text; what is made of a secret is a secret
---@return any # text
function utils.base64(text) end
utils.base64_encode = utils.base64

---Decode Base64, of the web too.
---
---    local text = utils.base64_decode("aGVsbG8=")
---@param text string|utils.base64_decode.args The text; what is made of a secret is a secret
---@return any # text
function utils.base64_decode(text) end

---Encode text in hexadecimal digits.
---
---    local text = utils.hex("hello")
---@param text string|utils.hex.args The text; what is made of a secret is a secret
---@return any # text
function utils.hex(text) end
utils.hex_encode = utils.hex

---Decode hexadecimal digits.
---
---    local text = utils.hex_decode("68656c6c6f")
---@param text string|utils.hex_decode.args The text; what is made of a secret is a secret
---@return any # text
function utils.hex_decode(text) end

---Escape text for the parameters of an address.
---
---    local text = utils.url_encode("a b&c")
---@param text string|utils.url_encode.args The text; what is made of a secret is a secret
---@return any # text
function utils.url_encode(text) end

---Undo url_encode.
---
---    local text = utils.url_decode("a+b%26c")
---@param text string|utils.url_decode.args The text; what is made of a secret is a secret
---@return any # text
function utils.url_decode(text) end

---@class validate.required.args
---@field value? any Table to look into
---@field table? any Table to look into
---@field keys? string[]|string Keys, or paths such as "db.host"

---@class validate.type.args
---@field value? any Value to look at
---@field type? "string"|"number"|"integer"|"boolean"|"table"|"list"|"function"|"secret"|"nil" What it has to be
---@field name? string What the message calls it

---@class validate.range.args
---@field value? any Number to look at
---@field min? number Smallest that is right
---@field max? number Largest that is right
---@field name? string What the message calls it

---@class validate.matches.args
---@field value? any Text to look at
---@field text? any Text to look at
---@field pattern? string Regular expression
---@field name? string What the message calls it

---@class validate.one_of.args
---@field value? any Value to look at
---@field values? any[] What it may be
---@field name? string What the message calls it

---@class validate.schema.args
---@field value? any What to check
---@field schema? any The schema, as a table or as JSON text

---Check values; every function gives true, or false and what is wrong.
---@class validatelib
validate = {}

---Check that a table has all of these keys, and no empty text there.
---
---    local ok, message = validate.required({ host = "a" }, { "host" })
---@param value? any Table to look into
---@param keys? string[]|string Keys, or paths such as "db.host"
---@return any # ok, message
function validate.required(value, keys) end

---Check the type of a value.
---
---    local ok, message = validate.type(8080, "integer")
---@param value? any Value to look at
---@param type? "string"|"number"|"integer"|"boolean"|"table"|"list"|"function"|"secret"|"nil" What it has to be
---@param name? string What the message calls it
---@return any # ok, message
function validate.type(value, type, name) end

---Check that a number is neither too small nor too large.
---
---    local ok, message = validate.range(8080, 1, 65535)
---@param value? any Number to look at
---@param min? number Smallest that is right
---@param max? number Largest that is right
---@param name? string What the message calls it
---@return any # ok, message
function validate.range(value, min, max, name) end

---Check that a text matches a regular expression (RE2).
---
---    local ok, message = validate.matches("web-01", "^web-[0-9]+$")
---@param value? any Text to look at
---@param pattern? string Regular expression
---@param name? string What the message calls it
---@return any # ok, message
function validate.matches(value, pattern, name) end

---Check that a value is one of a list.
---
---    local ok, message = validate.one_of("prod", { "dev", "prod" })
---@param value? any Value to look at
---@param values? any[] What it may be
---@param name? string What the message calls it
---@return any # ok, message
function validate.one_of(value, values, name) end

---Check a value against a JSON Schema.
---
---    local ok, message = validate.schema({ port = 80 }, { required = { "port" } })
---@param value? any What to check
---@param schema? any The schema, as a table or as JSON text
---@return any # ok, message
function validate.schema(value, schema) end

---@class perf.measure.args
---@field name? any Name to keep it under; it can be left out
---@field fn? function Function to call
---@field func? function Function to call

---@class perf.counter.args
---@field name? string Name of the counter
---@field by? number How much to add
---@field n? number How much to add
---@field value? number How much to add

---@class perf.gauge.args
---@field name? string Name of the gauge
---@field value? number What it shows from now on

---@class perf.stats.args
---@field name? string Only this measurement

---Measure functions and count things.
---@class perflib
perf = {}

---Call a function and tell how long it took.
---
---    local ms, answer = perf.measure("add", function() return 1 + 1 end)
---@param name? any Name to keep it under; it can be left out
---@param fn? function Function to call
---@return any # milliseconds, then what the function returned
function perf.measure(name, fn) end

---Add to a counter.
---
---    local n = perf.counter("requests", 2)
---@param name string|perf.counter.args Name of the counter
---@param by? number How much to add
---@return any # its new value
function perf.counter(name, by) end

---Set a gauge, or read it.
---
---    local v = perf.gauge("queue", 7)
---@param name string|perf.gauge.args Name of the gauge
---@param value? number What it shows from now on
---@return any # its value
function perf.gauge(name, value) end

---Give all that was measured and counted, or one measurement.
---
---    local s = perf.stats()
---@param name? string|perf.stats.args Only this measurement
---@return any # {measures = {NAME = {count, errors, total_ms, mean_ms, min_ms, max_ms, last_ms}}, counters, gauges}
function perf.stats(name) end

---Forget all that was measured and counted.
---
---    perf.reset()
---@return any # nothing
function perf.reset() end

---@class circuit.protect.args
---@field name? string Name of the circuit
---@field fn? function What to call
---@field func? function What to call
---@field failures? integer So many failures in a row open it
---@field threshold? integer So many failures in a row open it
---@field max_failures? integer So many failures in a row open it
---@field timeout? string|number How long it stays open, until one call may try again
---@field reset_timeout? string|number How long it stays open, until one call may try again
---@field fallback? function Called with the message while the circuit is open, instead of raising

---@class circuit.status.args
---@field name? string Name of the circuit

---@class circuit.reset.args
---@field name? string Name of the circuit; without, all of them

---Stop calling what fails again and again, until it is well; circuits are shared by the hosts and runs of a stack.
---@class circuitlib
circuit = {}

---Call a function unless its circuit is open; raises then, or calls fallback. An error, false, and a table with success = false are failures.
---
---    local answer = circuit.protect("billing", function() return "paid" end, { failures = 3, timeout = "1m" })
---@param name string|circuit.protect.args Name of the circuit
---@param fn? function What to call
---@param args? circuit.protect.args
---@return any # what the function, or fallback, returned
function circuit.protect(name, fn, args) end

---Describe one circuit; one that nothing failed in is closed.
---
---    local c = circuit.status("billing")
---@param name string|circuit.status.args Name of the circuit
---@return any # {name, state = "closed", "open" or "half_open", failures, retry_in}
function circuit.status(name) end

---Describe the circuits that something failed in.
---
---    for _, c in ipairs(circuit.list()) do log.info(c.name .. " " .. c.state) end
---@return any # list of {name, state = "closed", "open" or "half_open", failures, retry_in}
function circuit.list() end

---Close a circuit and forget its failures; without a name all of them.
---
---    circuit.reset("billing")
---@param name? string|circuit.reset.args Name of the circuit; without, all of them
---@return any # how many had failures
function circuit.reset(name) end

---@class saga.run.args
---@field steps? table[] List of {name=, run=, undo=}; run gets the results so far, by name and position, undo gets what its own run returned and the message of the failure. Other names: action, execute and ["do"]; compensate and rollback
---@field raise? boolean Raises when a step failed, once the others are undone; false: says so in the result
---@field name? string With a name the steps are written down as they are done, in the state of the stack: should the run be cut off in the middle, the next one finds them
---@field cut? "undo"|"resume" What is done then: undo them, the step under way too, and begin anew; or go on behind the last one that was done, and run the one under way again
---@field undo_timeout? string|number How long one undo may take, also when the task's own time was over

---Run steps one after the other, and undo those that were done when one fails.
---@class sagalib
---@overload fun(args: saga.run.args): any
saga = {}

---Run the steps; when one raises, or returns false or a table with success = false, undo those before it, the last one first, and raise.
---
---    local r = saga.run({
---      { name = "dns", run = function() return "added" end, undo = function() log.info("removed") end },
---      { name = "web", run = function() return "switched" end },
---    })
---@param steps table[]|saga.run.args List of {name=, run=, undo=}; run gets the results so far, by name and position, undo gets what its own run returned and the message of the failure. Other names: action, execute and ["do"]; compensate and rollback
---@param args? saga.run.args
---@return any # {success, results = {…}, steps = {{name, status, error, undo_error}, …}}; with raise = false also when it failed, with failed, error and undo_errors
function saga.run(steps, args) end

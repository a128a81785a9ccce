---@meta
-- What the Lua language server should know about the language of .sloth files.

---Begin a task. Its functions run on its hosts, with the values they capture.
---
---    local motd = task("motd"):command(function() file_ops.copy({ dest = "/etc/motd", content = "hi\n" }) end):build()
---@param name string Name, unique in its workflow
---@return sloth.task
function task(name) end

---Begin a handler: a task that runs once per host when it was notified, at the end of the workflow or batch.
---
---    handler("restart nginx"):command(function() service.restart("nginx") end):build()
---@param name string What notify says
---@return sloth.task
function handler(name) end

---@class sloth.task
---@field name string
local Task = {}

---Say what the task is for.
---@param text string
---@return sloth.task
function Task:description(text) end

---Give the task what it does: a function, or a shell command.
---@param command string|fun(this: sloth.this, params: table<string, any>, deps: table<string, sloth.outputs>): any, any, any
---@return sloth.task
function Task:command(command) end

---Work in this folder; it is made when the task starts.
---@param path string Base of relative paths, and where commands run
---@return sloth.task
function Task:workdir(path) end

---Say where the task runs.
---@param hosts string|string[]|{group: string, strategy?: string, spread?: integer}|fun(...): string|string[] Host, group, pattern such as "web:&prod:!web-03", a list, or what gives one
---@return sloth.task
function Task:delegate_to(hosts) end

---Run after other tasks, on the same host, and see their outputs.
---@param names string|string[]
---@return sloth.task
function Task:depends_on(names) end

---Run only where this gives true; asked where the task would run.
---@param condition fun(params: table<string, any>, deps: table<string, sloth.outputs>): any
---@return sloth.task
function Task:run_if(condition) end

---The same as run_if.
---@param condition fun(params: table<string, any>, deps: table<string, sloth.outputs>): any
---@return sloth.task
function Task:when(condition) end

---End an attempt after this long, with all it started.
---@param limit string|number Seconds, or text such as "5m"
---@return sloth.task
function Task:timeout(limit) end

---Try again after a failure.
---@param times integer How many more attempts
---@param strategy? "fixed"|"linear"|"exponential" How the wait between them grows
---@return sloth.task
function Task:retries(times, strategy) end

---Collect files after success.
---@param patterns string|string[] Names or globs below the workdir
---@return sloth.task
function Task:artifacts(patterns) end

---Bring artifacts of other tasks here before the task starts.
---@param patterns string|string[]
---@return sloth.task
function Task:consumes(patterns) end

---Name groups of tasks for --tags and --skip-tags.
---@param tags string|string[]
---@return sloth.task
function Task:tags(tags) end

---Queue handlers on each host where the task changed something.
---@param handlers string|string[]
---@return sloth.task
function Task:notify(handlers) end

---Decide whether the task changed something.
---@param condition fun(this: sloth.this, params: table<string, any>, output: any): boolean?
---@return sloth.task
function Task:changed_when(condition) end

---Decide whether the task failed.
---@param condition fun(this: sloth.this, params: table<string, any>, output: any): boolean?
---@return sloth.task
function Task:failed_when(condition) end

---Call this before each attempt.
---@param hook fun(params: table<string, any>)
---@return sloth.task
function Task:on_start(hook) end

---Call this after success.
---@param hook fun(params: table<string, any>, output: any)
---@return sloth.task
function Task:on_success(hook) end

---Call this after the last attempt has failed.
---@param hook fun(params: table<string, any>, error: string)
---@return sloth.task
function Task:on_failure(hook) end

---Call this before another attempt.
---@param hook fun(params: table<string, any>, error: string)
---@return sloth.task
function Task:on_retry(hook) end

---Call this when the time is over.
---@param hook fun(params: table<string, any>, error: string)
---@return sloth.task
function Task:on_timeout(hook) end

---Let a failure of the task stop nothing.
---@param yes? boolean
---@return sloth.task
function Task:ignore_errors(yes) end

---Show nothing of what the task says or changes.
---@param yes? boolean
---@return sloth.task
function Task:no_log(yes) end

---Let a failure on one host end the run everywhere.
---@param yes? boolean
---@return sloth.task
function Task:any_errors_fatal(yes) end

---Run on one host only, once per workflow.
---@param yes? boolean
---@return sloth.task
function Task:run_once(yes) end

---Start the task and do not wait; it is awaited at the end of the workflow.
---@param yes? boolean
---@return sloth.task
function Task:async(yes) end

---Run as another user, root when none is named.
---@param user? string|boolean
---@return sloth.task
function Task:become(user) end

---Run as this user.
---@param name string
---@return sloth.task
function Task:user(name) end

---Run on so many hosts at a time.
---@param size integer|string|(integer|string)[] A number, "25%", or a list of them
---@return sloth.task
function Task:serial(size) end

---Set variables of the environment.
---@param variables table<string, string|number|boolean>
---@return sloth.task
function Task:env(variables) end

---Set variables over those of the host.
---@param variables table<string, any>
---@return sloth.task
function Task:vars(variables) end

---Finish the task; a workflow, or the file itself, runs it.
---@return sloth.task
function Task:build() end

---Run the task now. It never raises.
---@return boolean success
---@return any second What the command returned second, or the error; on several hosts a table by host
---@return any third
function Task:run() end

---Define a workflow, or begin one task by task: each depends on the one before.
---
---    workflow("deploy"):task("build", build):task("ship", ship):delegate_to("web-*")
---@class sloth.workflow_functions
---@overload fun(name: string): sloth.workflow
workflow = {}

---@class sloth.workflow_options
---@field description? string
---@field version? string
---@field tasks? sloth.task[]
---@field config? sloth.workflow_config
---@field metadata? {author?: string, tags?: string[]}
---@field on_complete? fun(success: boolean, results: table<string, sloth.result>)
---@field delegate_to? string|string[]

---@class sloth.workflow_config
---@field timeout? string|number
---@field max_parallel_tasks? integer
---@field environment? string
---@field retry_policy? integer|string|{retries?: integer, attempts?: integer, strategy?: "fixed"|"linear"|"exponential"}
---@field fail_fast? boolean Cancel what has not started after a failure
---@field hosts? string|string[] Where tasks run that name no host
---@field serial? integer|string|(integer|string)[] So many hosts at a time, handlers included
---@field max_fail? integer|string So many hosts may fail: 5 or "10%"
---@field strategy? "free"|"linear"

---Define a workflow.
---@param name string
---@param options? sloth.workflow_options
---@return sloth.workflow
function workflow.define(name, options) end

---@class sloth.workflow
---@field name string
local Workflow = {}

---Say what the workflow is for.
---@param text string
---@return sloth.workflow
function Workflow:description(text) end

---Give the workflow a version.
---@param text string
---@return sloth.workflow
function Workflow:version(text) end

---Add a task that depends on the one before.
---@param name string|sloth.task
---@param command? string|fun(this: sloth.this, params: table<string, any>, deps: table<string, sloth.outputs>): any, any, any
---@return sloth.workflow
function Workflow:task(name, command) end

---Give the workflow its tasks.
---@param list sloth.task[]
---@return sloth.workflow
function Workflow:tasks(list) end

---Set how the workflow runs.
---@param options sloth.workflow_config
---@return sloth.workflow
function Workflow:config(options) end

---Tell people more.
---@param data table<string, any>
---@return sloth.workflow
function Workflow:metadata(data) end

---Call this at the end, on the controller.
---@param hook fun(success: boolean, results: table<string, sloth.result>)
---@return sloth.workflow
function Workflow:on_complete(hook) end

---Say where tasks run that name no host.
---@param hosts string|string[]
---@return sloth.workflow
function Workflow:delegate_to(hosts) end

---Do nothing: a workflow is registered at once.
---@return sloth.workflow
function Workflow:build() end

---@class sloth.result
---@field success boolean
---@field status "Success"|"Failed"|"Skipped"|"Timeout"|"Cancelled"|"Unreachable"|"Unknown"
---@field output any
---@field error string?
---@field duration number Seconds
---@field hosts table<string, table>

---@class sloth.outputs
---@field hosts table<string, table> The outputs by host
---@field [string] any

---@class sloth.this
---@field name string Of the task
---@field host string Inventory name, "local" on the controller
---@field check boolean True in a plan
---@field attempt integer
---@field workdir {get: (fun(): string), ensure: (fun(): boolean), exists: (fun(): boolean), cleanup: (fun(): boolean), recreate: (fun(): boolean)}
---@field agent {get: fun(): string}

---What --param and values.params give.
---@type table<string, any>
params = {}

---What the values file has.
---@type table<string, any>
values = {}

---The same as values.
---@type table<string, any>
Values = values

---Variables of the host, under those of the task.
---@type table<string, any>
vars = {}

---@class sloth.host
---@field name string Inventory name
---@field address string
---@field groups string[]
host = {}

---Set a variable of the host for the rest of the run.
---@param key string
---@param value any
function host.set(key, value) end

---@class sloth.inventory
inventory = {}

---List the hosts of a pattern.
---@param pattern? string All when none is given
---@return string[]
function inventory.hosts(pattern) end

---Give the variables of a host.
---@param name string
---@return table<string, any>
function inventory.vars(name) end

---Give the facts of a host.
---@param name string
---@return sloth.facts
function inventory.facts(name) end

---@class sloth.retry_options
---@field times? integer How often to try; 3 when not said
---@field attempts? integer The same as times
---@field delay? string|number Wait between attempts; a second when not said
---@field backoff? "fixed"|"linear"|"exponential" How the wait grows
---@field strategy? "fixed"|"linear"|"exponential" The same as backoff

---Call a function until it neither raises nor returns false. A plan tries once and goes on.
---
---    retry({ times = 5, delay = "2s", backoff = "exponential" }, function() return http.get("http://localhost/").success end)
---@param times integer|sloth.retry_options
---@param fn fun(): any, any, any
---@param options? sloth.retry_options
---@return any ...
function retry(times, fn, options) end

---End the task with a message.
---@param message any
function fail(message) end

---Queue handlers on this host.
---@param ... string
function notify(...) end

---Run the pending handlers of this host now.
function flush_handlers() end

---Give a secret by name: a value that is passed on and never shown.
---@param name string
---@return string
function secret(name) end

---Run another file in the same globals, once unless it is given arguments.
---@param path string Beside the file that asks
---@param ... any
---@return any ...
function include(path, ...) end

---Ask at the terminal, unless --param answers.
---@param name string
---@param options? {secret?: boolean, default?: any}
---@return any
function prompt(name, options) end

---Wait so long, or for the person at the terminal.
---@param duration? string|number
function pause(duration) end

---@class sloth.goroutine
goroutine = {}

---@class sloth.handle
local Handle = {}

---Wait for the function.
---@param timeout? string|number Seconds
---@return boolean success
---@return any ... What it returned, or the message
function Handle:await(timeout) end

---End the function.
function Handle:cancel() end

---Tell whether the function has ended.
---@return boolean
function Handle:done() end

---Go on with what the function returned.
---@param ok fun(...): any
---@param failed? fun(message: string): any
---@return sloth.handle
function Handle:next(ok, failed) end

---Go on with the message of a failure.
---@param failed fun(message: string): any
---@return sloth.handle
function Handle:catch(failed) end

---Start a function beside the others.
---@param fn fun(...): any
---@param ... any
---@return sloth.handle
function goroutine.async(fn, ...) end

---The same as async.
---@param fn fun(...): any
---@param ... any
---@return sloth.handle
function goroutine.create(fn, ...) end

---Start a function that nobody waits for; its error is logged.
---@param fn fun(...): any
---@param ... any
function goroutine.spawn(fn, ...) end

---Wait for a function.
---@param handle sloth.handle
---@param timeout? string|number Seconds
---@return boolean success
---@return any ... What it returned, or the message
function goroutine.await(handle, timeout) end

---Wait for several functions.
---@param handles sloth.handle[]
---@param timeout? string|number Seconds
---@return {success: boolean, values: any[], value: any, error: string?}[]
function goroutine.await_all(handles, timeout) end

---The same as await_all.
---@param handles sloth.handle[]
---@param timeout? string|number Seconds
---@return {success: boolean, values: any[], value: any, error: string?}[]
function goroutine.wait_all(handles, timeout) end

---Wait.
---@param milliseconds number
function goroutine.sleep(milliseconds) end

---Make a pool of workers.
---@param name string
---@param options? {workers?: integer}
function goroutine.pool_create(name, options) end

---Give a pool something to do; it waits while the pool is full.
---@param name string
---@param fn fun(...): any
---@param ... any
function goroutine.pool_submit(name, fn, ...) end

---Wait until a pool has nothing to do.
---@param name string
---@param timeout? string|number Seconds
---@return boolean
function goroutine.pool_wait(name, timeout) end

---End a pool.
---@param name string
function goroutine.pool_close(name) end

---Tell how busy a pool is.
---@param name string
---@return {name: string, workers: integer, active: integer, completed: integer, failed: integer, queued: integer}
function goroutine.pool_stats(name) end

---@class sloth.async
---@overload fun(fn: (fun(...): any), ...: any): sloth.handle
async = {}

---Start a function beside the others.
---@param fn fun(...): any
---@param ... any
---@return sloth.handle
function async.async(fn, ...) end

---Wait for a function.
---@param handle sloth.handle
---@param timeout? string|number Seconds
---@return boolean success
---@return any ...
function async.await(handle, timeout) end

---@class sloth.outcome
---@field success boolean
---@field values any[]
---@field value any The first of them
---@field error string?

---Run functions beside each other and wait for all.
---@param functions table<any, function|sloth.handle> A list, or a table with names
---@param limits? integer|{max_workers?: integer, timeout?: string|number}
---@return table<any, sloth.outcome> outcomes Under the same positions or names
function async.parallel(functions, limits) end

---Run functions one after the other, up to the first that fails.
---@param functions table<any, function|sloth.handle>
---@return table<any, sloth.outcome>
function async.sequence(functions) end

---Wait for all; the others are cancelled when one fails.
---@param functions table<any, function|sloth.handle>
---@return boolean success
---@return any values Their first values in the same shape, or the message
function async.all(functions) end

---Give what the first one to end came to; the others are cancelled.
---@param functions table<any, function|sloth.handle>
---@return boolean success
---@return any ...
function async.race(functions) end

---Start a function that says itself what comes of it.
---@param fn fun(resolve: fun(...: any), reject: fun(message: any))
---@return sloth.handle
function async.promise(fn) end

---Run a function, and end it when the time is over.
---@param seconds string|number
---@param fn fun(...): any
---@param ... any
---@return boolean success
---@return any ... What it returned, or the message
function async.timeout(seconds, fn, ...) end

---Wait.
---@param milliseconds number
function async.sleep(milliseconds) end

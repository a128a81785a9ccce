// Package data is the module data: JSON, YAML, CSV and XML, and tables taken
// apart and put together. Nothing in it touches the host.
//
// Lua has one kind of table and no null. An empty table is written as {}, but
// one that came from an empty list is written as [] again. A null is nil, which
// leaves no key; inside a list it keeps its place while something follows.
package data

import (
	"github.com/sloth-runner/sloth/modules"
)

// Limits against data that others wrote.
const (
	maxText  = 32 << 20  // bytes that are parsed
	maxDepth = 100       // levels of nesting
	maxNodes = 1_000_000 // values in one document, aliases counted each time
)

// Module describes the module data.
func Module() modules.Module {
	return modules.Module{
		Name:    "data",
		Summary: "Read and write JSON, YAML, CSV and XML; merge, flatten and check tables.",
		Funcs: append(append([]modules.Func{
			{
				Name: "parse_json", Aliases: []string{"json_decode"}, Summary: "Read JSON text; raises with line and column when it is none.",
				Example: `local v = data.parse_json('{"port": 8080}')`, Returns: "the value",
				New: func() any { return &parseJSON{} },
			},
			{
				Name: "to_json", Aliases: []string{"json_encode"}, Summary: "Write a value as JSON; what holds a secret becomes a secret.",
				Example: `local text = data.to_json({ port = 8080 })`, Returns: "text",
				New: func() any { return &toJSON{} },
			},
			{
				Name: "json_pretty", Summary: "Write a value as indented JSON, or indent JSON text.",
				Example: `local text = data.json_pretty({ port = 8080 })`, Returns: "text",
				New: func() any { return &toJSON{Indent: 2, reformat: true} },
			},
			{
				Name: "json_validate", Summary: "Tell whether a text is JSON.",
				Example: `local ok, message = data.json_validate('{"port": 8080}')`, Returns: "ok, message",
				New: func() any { return &jsonValid{} },
			},
			{
				Name: "parse_yaml", Aliases: []string{"yaml_decode"}, Summary: "Read YAML text; raises with the line when it is none.",
				Example: `local v = data.parse_yaml("port: 8080")`, Returns: "the value",
				New: func() any { return &parseYAML{} },
			},
			{
				Name: "to_yaml", Aliases: []string{"yaml_encode"}, Summary: "Write a value as YAML; what holds a secret becomes a secret.",
				Example: `local text = data.to_yaml({ port = 8080 })`, Returns: "text",
				New: func() any { return &toYAML{Indent: 2} },
			},
			{
				Name: "yaml_to_json", Summary: "Turn YAML text into JSON text; keys keep their order.",
				Example: `local text = data.yaml_to_json("port: 8080")`, Returns: "text",
				New: func() any { return &yamlToJSON{} },
			},
			{
				Name: "json_to_yaml", Summary: "Turn JSON text into YAML text; keys keep their order.",
				Example: `local text = data.json_to_yaml('{"port": 8080}')`, Returns: "text",
				New: func() any { return &jsonToYAML{Indent: 2} },
			},
			{
				Name: "csv_parse", Summary: "Read CSV text: a list of tables by the names in its first line.",
				Example: `local rows = data.csv_parse("name,port\nweb,80\n")`, Returns: "list of tables, or of lists with header = false",
				New: func() any { return &csvParse{Header: true, Separator: ","} },
			},
			{
				Name: "csv_generate", Summary: "Write a list of tables, or of lists, as CSV.",
				Example: `local text = data.csv_generate({ { name = "web", port = 80 } })`, Returns: "text",
				New: func() any { return &csvGenerate{Header: true, Separator: ","} },
			},
			{
				Name: "xml_decode", Aliases: []string{"parse_xml"}, Summary: "Read XML text.",
				Example: `local doc = data.xml_decode('<a id="1"><b>text</b></a>')`,
				Returns: "{name, attrs = {}, text, children = {…}}",
				New:     func() any { return &xmlDecode{} },
			},
			{
				Name: "xml_encode", Aliases: []string{"to_xml"}, Summary: "Write an element as xml_decode gives it, or a plain table below a root, as XML.",
				Example: `local text = data.xml_encode({ port = 8080 }, { root = "server" })`, Returns: "text",
				New: func() any { return &xmlEncode{Indent: 2} },
			},
		}, tableFuncs...), validateFunc),
	}
}

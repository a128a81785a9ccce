// Package ship moves Lua values to another machine: tables with cycles and
// sharing, functions with the variables they captured, and the globals those
// functions use. A function is named by the hash of its source and its position
// there; the receiver has compiled the same source. What every machine has,
// such as string.format, travels by name.
//
// A parcel is a snapshot: what the receiver changes stays there. Equal graphs
// give equal bytes, so the hash of a parcel names what a step does.
package ship

// The format, version 1. All counts are unsigned varints.
//
//	"slp1"
//	chunks   count, then 32 bytes SHA-256 each
//	nodes    count, then one byte kind each, after that of a table the number of
//	         its array values and of its other fields; a node is known by its
//	         position
//	root     value
//	globals  count, then (name string, value)
//	patches  count, then (table path string, key string, value)
//	bodies   of all nodes, in order
//
//	value    one byte tag, see the tag constants, then its content
//	string   a value of tag tagString or tagKnown
//	table    the values 1…n; the (key, value) pairs; metatable
//	function chunk position, position in the chunk, environment (nil: globals),
//	         count, then the node position of each captured cell
//	cell     value
//	userdata kind string, value
//
// Every node is first referred to by the root, globals, patches or the body of
// an earlier node.
const magic = "slp1"

const (
	tagNil = iota
	tagFalse
	tagTrue
	tagFloat   // 8 bytes, big endian, IEEE 754
	tagInteger // signed varint
	tagString  // length, bytes; becomes known under the next number when long enough
	tagKnown   // the number of a known string
	tagNode    // position
	tagLibrary // string: the path of what every machine has
	tagGlobals // the table of globals itself
)

const (
	kindTable = iota
	kindFunction
	kindCell
	kindUserdata
)

// minKnown is the length of the shortest string that is sent once only.
const minKnown = 4

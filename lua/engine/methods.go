package engine

// MethodsOnly is the key that marks a metatable which only lends functions of a
// library as methods. A table with it is still plain data.
const MethodsOnly = "sloth.methods"

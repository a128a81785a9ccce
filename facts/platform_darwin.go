package facts

var (
	processorOf = host.darwinProcessor
	memoryOf    = host.darwinMemory
)

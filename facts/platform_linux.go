package facts

var (
	processorOf = host.processor
	memoryOf    = host.memory
)

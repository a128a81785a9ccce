package worker

// bootID changes with every boot.
func bootID() string { return line("/proc/sys/kernel/random/boot_id") }

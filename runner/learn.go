package runner

// maxLearned bounds the secrets that one host may have hidden in all output: a
// host that says that everything is secret hides what others say as well.
const maxLearned = 1000

// learn passes on secrets that host has, and writes them down for whoever goes
// on with the run.
func (r *Runner) learn(host string, values ...string) {
	if r.opt.Learn == nil {
		return
	}
	for _, value := range values {
		r.mu.Lock()
		known := r.learned[host]
		if known == nil {
			known = map[string]bool{}
			r.learned[host] = known
		}
		fresh := !known[value] && len(known) < maxLearned
		if fresh {
			known[value] = true
		}
		r.mu.Unlock()
		if !fresh {
			continue
		}
		r.opt.Learn(host, value)
		if rec := r.opt.Record; rec != nil && !r.opt.Check {
			r.recordFailed(rec.Learn(value))
		}
	}
}

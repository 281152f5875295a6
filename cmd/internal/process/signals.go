package process

import "os"

// HandleSignals drains at the first signal and ends the process at the second.
func HandleSignals(signals <-chan os.Signal, drain, end func()) {
	<-signals
	drain()
	<-signals
	end()
}

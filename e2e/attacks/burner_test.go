package attacks

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// burnShare is the environment variable with the processors that a burner uses.
const burnShare = "ATTACKS_SHARE"

// runBurner uses a share of the processors until it is stopped, and touches nothing else. It is the control
// of an attack: what it costs the gateway's clients is the machine's.
func runBurner() int {
	share, err := strconv.ParseFloat(os.Getenv(burnShare), 64)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	fmt.Println(attacking)
	var work sync.WaitGroup
	for ; share > 0; share-- {
		one := min(share, 1)
		work.Go(func() { burn(ctx, one) })
	}
	work.Wait()
	return 0
}

// burn uses a share of one processor, in slices as short as the work for a message.
func burn(ctx context.Context, share float64) {
	const slice = time.Millisecond
	tick := time.NewTicker(slice)
	defer tick.Stop()
	for ctx.Err() == nil {
		for until := time.Now().Add(time.Duration(share * float64(slice))); time.Now().Before(until); {
		}
		if share < 1 {
			<-tick.C
		}
	}
}

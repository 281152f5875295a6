package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"wcsgateway/state"
	"wcsgateway/translate"
)

// Operators and backends ask any pod, and mean the whole deployment. What there is, is read from Redis; what is to be done, or is known only to
// the pod that has a stream, goes to that pod as an order.

// ErrPodSilent says that a pod has not answered: it is dead, and will be taken over, or cut off from Redis. What it was asked for may
// have been done.
var ErrPodSilent = errors.New("pod does not answer")

// adminKind is what a pod is to do, with its argument and its answer as JSON.
type adminKind string

const (
	adminEndStreams adminKind = "end-streams" // []string, media ids → int, those that it has ended
	adminEndSession adminKind = "end-session" // string, its id → bool, whether this pod had it
	adminFigures    adminKind = "figures"     // []string, media ids → map[string]Figures by media id
	adminStatistics adminKind = "statistics"  // null → Statistics
	adminRecord     adminKind = "record"      // recordWish → recordAnswer
	adminSay        adminKind = "say"         // streamData → string, answerSent, answerNone or why it was not sent
	adminTell       adminKind = "tell"        // sessionData → string, likewise
	adminPod        adminKind = "pod"         // null → PodState
	adminHistory    adminKind = "history"     // null → what Deps.History gives
	adminSession    adminKind = "session"     // string, its id → SessionDetails, null without it
)

// adminWait bounds the wait for one pod, which answers from memory, unless LiveKit has a say.
const adminWait = 1500 * time.Millisecond

func (g *Gateway) orderWait(kind adminKind) time.Duration {
	if kind == adminRecord {
		return adminWait + g.cfg.Egress.StartTimeout
	}
	return adminWait
}

// order has a pod, which may be this one, do something and reads its answer into result.
func (g *Gateway) order(ctx context.Context, pod string, kind adminKind, arg, result any) error {
	body, err := json.Marshal(arg)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, g.orderWait(kind))
	defer cancel()
	e := state.Event{Kind: state.EventAdmin, Name: string(kind), Body: body}
	answer := ""
	if pod == g.cfg.Pod {
		answer = g.carryOut(ctx, e)
	} else if answer, err = g.bus.Request(ctx, pod, e); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrPodSilent, pod, err)
	}
	if err := json.Unmarshal([]byte(answer), result); err != nil {
		return fmt.Errorf("pod %s, of another version: %s: %w", pod, kind, err)
	}
	return nil
}

// answerAdmin does what another pod's operator or backend wants.
func (g *Gateway) answerAdmin(e state.Event) {
	ctx, cancel := g.withTimeout(g.orderWait(adminKind(e.Name)))
	defer cancel()
	answer := g.carryOut(ctx, e)
	g.bus.Reply(ctx, e, answer)
}

// carryOut gives the answer, "" to what it does not understand.
func (g *Gateway) carryOut(ctx context.Context, e state.Event) (answer string) {
	var (
		result any
		err    error
	)
	switch adminKind(e.Name) {
	case adminEndStreams:
		result, err = carry(e.Body, func(ids []string) int { return g.endStreams(ctx, ids) })
	case adminEndSession:
		result, err = carry(e.Body, g.endSession)
	case adminFigures:
		result, err = carry(e.Body, func(ids []string) map[string]Figures { return g.figuresHere(ctx, ids) })
	case adminStatistics:
		result = g.statisticsHere()
	case adminRecord:
		result, err = carry(e.Body, func(w recordWish) recordAnswer { return g.recordHere(ctx, w) })
	case adminSay:
		result, err = carry(e.Body, func(d streamData) string { return g.sayAs(ctx, translate.Identity(d.Publisher), d.Payload) })
	case adminTell:
		result, err = carry(e.Body, func(d sessionData) string { return g.tellOne(ctx, d) })
	case adminPod:
		result = g.podState()
	case adminHistory:
		result = g.historyHere()
	case adminSession:
		result, err = carry(e.Body, func(id string) *SessionDetails { return g.detailsHere(ctx, id) })
	default:
		err = fmt.Errorf("unknown order %q", e.Name)
	}
	text, failed := json.Marshal(result)
	if err = errors.Join(err, failed); err != nil {
		g.log.Error().Err(err).Str("pod_from", e.From).Msg("a pod of another version sent an order that cannot be read")
		return ""
	}
	return string(text)
}

// carry does something with an argument that is JSON.
func carry[A, R any](arg []byte, do func(A) R) (result R, err error) {
	var a A
	if err := json.Unmarshal(arg, &a); err != nil {
		return result, err
	}
	return do(a), nil
}

package hybrid

import (
	"cmp"
	"encoding/json"
	"time"

	"wcsgateway/gateway/quota"
	"wcsgateway/gateway/upstream"
	"wcsgateway/translate/wcs"
)

// Bounds of one client.
const (
	maxHeld    = 128  // commands that wait for a look at this gateway's streams; their bytes are bounded by Deps.MaxQueueBytes
	maxID      = 128  // bytes of an id; longer ones are rejected here
	maxName    = 1024 // bytes of a stream's name; this gateway has no stream with a longer one, or rejects it
	maxLooks   = 4    // looks at a time
	maxAnswers = 256  // questions, and as many sendData, that the upstream has not answered
	retryAfter = time.Second
)

// Texts for clients (docs/app-developers.md#error-texts-cause-and-remedy).
const (
	infoTooManyStreams  = "Too many streams in this session"
	infoTooManyRequests = "Too many requests at a time"
)

// Client is the part of a session that uses the upstream. A nil Client is that of a session without one. It
// belongs to the session's loop.
type Client struct {
	// set once
	all       *Clients
	app       App
	key       string
	session   Session
	handshake upstream.Handshake
	hello     map[string]json.RawMessage // members of the connection command for the upstream
	version   string
	publishes bool // what the client publishes goes to the upstream
	sip       bool // the upstream registers the client for calls

	// loop
	id, token string // of the session, set when it is established
	media     bool   // its client can have media sockets

	link      *link // nil: none
	retryAt   time.Time
	held      map[string][]held // by media id; the first one is looked at
	looks     []string          // media ids whose first command waits for its look
	looking   int
	waiting   int                   // commands in held
	bytes     int                   // of the commands in held
	streams   map[string]stream     // by media id: those that the upstream has
	questions map[question][]string // the names in those that the upstream has not answered
	asked     int                   // names in questions
	pictured  picture               // the first of two messages with a picture was the last answer to a snapshot
	data      map[string]int        // by operationId: sendData that the upstream has not answered
	sent      int                   // in data
	calls     map[string]bool       // by callId: those of the upstream
	ended     bool
}

// held is a command that waits.
type held struct {
	cmd   wcs.Command
	ref   wcs.StreamRef
	frame []byte
	here  bool // it publishes here, and the look is whether the upstream has the name
}

// question is an availableStream or snapshot, which does not start a stream.
type question struct {
	name wcs.Name
	id   string // media id
}

// picture is a message with a picture. Some servers send two, for old and new clients.
type picture struct {
	name wcs.Name
	id   string // media id
}

// stream is a stream of the client that the upstream has.
type stream struct {
	name      string
	published bool
	provider  string // of media
	created   time.Time
}

// stream returns the stream that a command starts.
func (h held) stream() stream {
	return stream{h.ref.Name, h.cmd.Name == wcs.CmdPublishStream, cmp.Or(string(h.ref.MediaProvider), wcs.ProviderWebRTC), time.Now()}
}

// kind returns the media type of a stream, which is also a label of metrics.
func (st stream) kind() string {
	if st.published {
		return "publish"
	}
	return "play"
}

// Take passes a command to the upstream if the upstream has it, or might have it. Then it returns true, and
// the client is answered later; the command can come back by Session.Serve. frame is the command as it came.
func (c *Client) Take(cmd wcs.Command, frame []byte) bool {
	if c == nil || c.ended {
		return false
	}
	switch cmd.Name {
	case wcs.CmdSendData:
		return c.app.SendData && c.takeData(cmd, frame)
	case wcs.CmdPublishStream, wcs.CmdPlayStream, wcs.CmdAvailableStream, wcs.CmdSnapshot,
		wcs.CmdUnPublishStream, wcs.CmdStopStream, wcs.CmdSendStreamEvent:
	default:
		return c.app.Fallback && c.takeOther(cmd, frame)
	}
	h := held{cmd: cmd, frame: frame}
	return cmd.Bind(&h.ref) == nil && isID(h.ref.MediaSessionID) && len(h.ref.Name) <= maxName && c.takeOne(h)
}

func isID(id string) bool { return id != "" && len(id) <= maxID }

// takeOne is Take for a command about a stream.
func (c *Client) takeOne(h held) bool {
	if len(c.held[h.ref.MediaSessionID]) > 0 {
		c.hold(h)
		return true
	}
	return c.route(h)
}

// route decides on a command about a stream. It returns false if this gateway is to execute it.
func (c *Client) route(h held) bool {
	_, there := c.streams[h.ref.MediaSessionID]
	switch h.cmd.Name {
	case wcs.CmdUnPublishStream, wcs.CmdStopStream, wcs.CmdSendStreamEvent:
		if there && (h.cmd.Name != wcs.CmdSendStreamEvent || c.session.Charge(quota.Data)) {
			c.send(h.cmd.Name, h.frame)
		}
		return there
	case wcs.CmdPublishStream, wcs.CmdPlayStream:
		if there {
			c.refuse(h, wcs.InfoMediaSessionIDAlreadyInUse)
			return true
		}
		if c.session.HasStream(h.ref.MediaSessionID) {
			return false
		}
	}
	switch {
	case h.cmd.Name == wcs.CmdPlayStream && c.app.Fallback && h.stream().provider != wcs.ProviderWebRTC:
		c.forward(h)
		return true
	case h.cmd.Name == wcs.CmdPublishStream && !c.publishesThere(h.cmd):
		if c.publishedThere(h.ref.Name) {
			c.refuse(h, wcs.InfoStreamNameAlreadyInUse)
			return true
		}
		h.here = true
	case h.cmd.Name != wcs.CmdPublishStream && c.missing(h.ref.Name):
		return false
	}
	c.hold(h)
	return true
}

// publishesThere returns the side of what the client publishes. A stream of a room is on the side that has
// the room.
func (c *Client) publishesThere(cmd wcs.Command) bool {
	if wcs.RoomOf(cmd.Arg) != "" {
		return c.app.SendData
	}
	return c.publishes
}

// hold lets a command wait for the look at its name, or behind such a command about the same stream.
func (c *Client) hold(h held) {
	if c.waiting >= maxHeld || c.bytes+len(h.frame) > c.all.MaxQueueBytes {
		c.refuse(h, infoTooManyRequests)
		return
	}
	id := h.ref.MediaSessionID
	c.waiting++
	c.bytes += len(h.frame)
	c.held[id] = append(c.held[id], h)
	if len(c.held[id]) == 1 {
		c.look(id)
	}
}

// look looks which side has the stream of the first command that is held for a media id.
func (c *Client) look(id string) {
	if c.looking >= maxLooks {
		c.looks = append(c.looks, id)
		return
	}
	c.looking++
	first := c.held[id][0]
	go func() {
		found := true // after a panic
		defer func() { c.session.Post(func() { c.looked(id, found) }) }()
		defer c.all.Recovered()
		if first.here {
			found = c.recordedThere(first.ref.Name)
		} else {
			found = c.session.Knows(first.ref.Name)
		}
	}()
}

// looked continues with the commands that are held for a media id, and then with another one.
func (c *Client) looked(id string, found bool) {
	c.looking--
	if c.ended {
		return
	}
	waited := c.held[id]
	delete(c.held, id)
	c.waiting -= len(waited)
	for _, h := range waited {
		c.bytes -= len(h.frame)
	}
	switch first := waited[0]; {
	case first.here && (found || c.publishedThere(first.ref.Name)):
		c.refuse(first, wcs.InfoStreamNameAlreadyInUse)
	case first.here:
		c.session.Serve(first.cmd)
	case !found:
		c.forward(first)
	case first.cmd.Name == wcs.CmdPublishStream:
		c.refuse(first, wcs.InfoStreamNameAlreadyInUse)
	default:
		c.session.Serve(first.cmd)
	}
	for _, h := range waited[1:] {
		if !c.takeOne(h) {
			c.session.Serve(h.cmd)
		}
	}
	if len(c.looks) > 0 && c.looking < maxLooks {
		next := c.looks[0]
		c.looks = c.looks[1:]
		c.look(next)
	}
}

// forward sends a command about a stream to the upstream.
func (c *Client) forward(h held) {
	id := h.ref.MediaSessionID
	starts := h.cmd.Name == wcs.CmdPublishStream || h.cmd.Name == wcs.CmdPlayStream
	kind := quota.Lookups
	if starts {
		kind = quota.Starts
	}
	switch {
	case !c.session.Charge(kind), !starts && c.asked >= maxAnswers:
		c.refuse(h, infoTooManyRequests)
	case starts && len(c.streams) >= c.all.MaxStreams:
		c.refuse(h, infoTooManyStreams)
	case starts:
		c.add(id, h.stream())
		c.send(h.cmd.Name, h.frame)
	default:
		q := question{h.cmd.Name, id}
		c.questions[q] = append(c.questions[q], h.ref.Name)
		c.asked++
		c.send(h.cmd.Name, h.frame)
	}
}

func (c *Client) add(id string, st stream) {
	c.streams[id] = st
	c.session.CountStreams(1)
	c.countStream(st, 1)
	if st.published {
		c.all.published.count(c.at(st.name), 1)
	}
	if st.provider != wcs.ProviderWebRTC && !c.media {
		c.media = true
		c.keepToken()
	}
}

// remove forgets a stream that has ended.
func (c *Client) remove(id string) {
	st := c.streams[id]
	delete(c.streams, id)
	c.session.CountStreams(-1)
	c.countStream(st, -1)
	if st.published {
		c.all.published.count(c.at(st.name), -1)
	}
}

func (c *Client) countStream(st stream, delta float64) {
	c.all.Metrics.Streams.WithLabelValues(c.key, c.app.Upstream.Name(), st.kind()).Add(delta)
}

// answered returns the name in the first question of a kind about a media id, and forgets the question.
func (c *Client) answered(q question) (name string, ok bool) {
	names := c.questions[q]
	if len(names) == 0 {
		return "", false
	}
	c.asked--
	if c.questions[q] = names[1:]; len(names) == 1 {
		delete(c.questions, q)
	}
	return names[0], true
}

func (c *Client) takeData(cmd wcs.Command, frame []byte) bool {
	var d struct {
		OperationID string `json:"operationId"`
	}
	if cmd.Bind(&d) != nil || len(d.OperationID) > maxID {
		return false
	}
	if c.sent >= maxAnswers || !c.session.Charge(quota.Data) {
		c.session.Send(wcs.DataStatus{OperationID: d.OperationID, Status: wcs.DataFailed, Info: infoTooManyRequests}.Frame())
		return true
	}
	c.data[d.OperationID]++
	c.sent++
	c.send(cmd.Name, frame)
	return true
}

// refuse answers a command that goes nowhere.
func (c *Client) refuse(h held, info string) {
	id := h.ref.MediaSessionID
	switch h.cmd.Name {
	case wcs.CmdPublishStream, wcs.CmdPlayStream:
		c.sendFailed(id, h.stream(), info)
	case wcs.CmdAvailableStream:
		c.session.Send(wcs.Available(id, false, info))
	case wcs.CmdSnapshot:
		c.session.Send(wcs.SnapshotFailed(id, info))
	}
}

func (c *Client) sendFailed(id string, st stream, info string) {
	c.session.Send(wcs.StreamStatus{
		StreamHead: wcs.StreamHead{MediaSessionID: id, Name: st.name, Published: st.published, Status: wcs.StatusFailed},
		Info:       info, CreateDate: st.created.UnixMilli(), MediaProvider: st.provider, MediaType: st.kind(),
	}.Frame())
}

// send queues a command for the upstream, and opens the link to it if there is none.
func (c *Client) send(name wcs.Name, frame []byte) {
	c.all.Links.CountCommand(c.key, c.app.Upstream, name)
	if c.link == nil {
		if time.Now().Before(c.retryAt) {
			c.fail(upstream.ErrUnavailable)
			return
		}
		c.link = c.open()
	}
	if !c.link.push(frame) {
		c.linkEnded(c.link, errBehind)
	}
}

// linkEnded ends what the client has at the upstream.
func (c *Client) linkEnded(l *link, err error) {
	if c.link != l {
		return
	}
	c.link = nil
	c.keepToken()
	l.cancel()
	if !l.established {
		c.retryAt = time.Now().Add(retryAfter)
	}
	l.log.Warn().Err(err).Int("streams", len(c.streams)).Msg("upstream of session lost")
	c.fail(err)
	c.reopenLater()
}

// fail answers all that the upstream will not answer.
func (c *Client) fail(err error) {
	info := upstream.Info(err)
	for id, st := range c.streams {
		c.remove(id)
		c.sendFailed(id, st, info)
	}
	for q, names := range c.questions {
		for range names {
			c.refuse(held{cmd: wcs.Command{Name: q.name}, ref: wcs.StreamRef{MediaSessionID: q.id}}, info)
		}
	}
	for id := range c.calls {
		c.endCall(id)
		c.session.Send(wcs.CallFinished(id, wcs.StatusFailed))
	}
	for id, n := range c.data {
		for range n {
			c.session.Send(wcs.DataStatus{OperationID: id, Status: wcs.DataFailed, Info: info}.Frame())
		}
	}
	clear(c.questions)
	clear(c.data)
	c.asked, c.sent = 0, 0
}

// Drained is called when the client can take more messages.
func (c *Client) Drained() {
	if c == nil || c.link == nil {
		return
	}
	select {
	case c.link.drained <- struct{}{}:
	default: // it knows
	}
}

// Ended is a stream that ended with its client's link.
type Ended struct {
	MediaID, Name string
	Published     bool
	Provider      string // of media
	Created       time.Time
}

// End closes the link, because the client's socket has ended, and returns the streams that ended with it.
func (c *Client) End() (ended []Ended) {
	if c == nil || c.ended {
		return nil
	}
	c.ended = true
	for id, st := range c.streams {
		c.remove(id)
		ended = append(ended, Ended{MediaID: id, Name: st.name, Published: st.published, Provider: st.provider, Created: st.created})
	}
	for id := range c.calls {
		c.endCall(id)
	}
	if c.link != nil {
		c.link.cancel()
		c.link = nil
		c.keepToken()
	}
	return ended
}

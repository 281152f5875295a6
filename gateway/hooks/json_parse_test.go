package hooks

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"wcsgateway/e2e/misread"
	"wcsgateway/translate/wcs"
)

// A backend that serializes an answer, and the gateway, read the same members in it: those that the gateway
// takes into the connection and the stream, and the policies.
func TestGatewayAndJSONParseReadTheSameAnswers(t *testing.T) {
	if testing.Short() {
		t.Skip("needs Node")
	}
	misread.Compare(t, answerDocument, readAnswer, answerReader)
}

// answerDocument returns an answer with the members of all methods.
func answerDocument(s misread.Source) string {
	lists := []string{`"name, sdp ,,name"`, `"record,bitrate"`, `"r\u0065cord"`, `""`, s.Text()}
	policy := func() string {
		return s.Object("restExclude", s.Pick(lists...), "clientExclude", s.Pick(lists...), "restOverwrite", s.Pick(lists...),
			"restOnError", s.Pick(`"LOG"`, `"FAIL"`, `"fail"`, `"F\u0041IL"`, s.Text()),
			"restPolicy", s.Pick(`"NOTIFY"`, `"OVERWRITE"`, `"disable"`, `"DISABLED"`, s.Text()))
	}
	return s.Object(
		"appKey", s.Text(), "sessionId", s.Text(), "mediaSessionId", s.Text(), "sdp", s.Text(), "authToken", s.Text(), "login", s.Text(),
		"custom", s.Object("login", s.Text()), "keepAlive", s.Flag(), "mediaProviders", s.Pick(`["WebRTC"]`, `["MSE",`+s.Text()+`]`),
		"name", s.Text(), "record", s.Flag(), "bitrate", s.Number(), "minBitrate", s.Number(), "maxBitrate", s.Number(),
		"restClientConfig", s.Object("connect", policy(), "publishStream", policy(), "playStream", policy(), "noMethod", policy()),
	)
}

// What the client sent.
const (
	sentConnection = `{"appKey":"app","sessionId":"id","authToken":"token","login":"user","keepAlive":true,"mediaProviders":["WebRTC"]}`
	sentStream     = `{"mediaSessionId":"m","name":"s","sdp":"v=0","record":false,"bitrate":1,"minBitrate":2,"maxBitrate":3}`
)

// readAnswer returns what the gateway takes from an answer. ok is false if it rejects the answer.
func readAnswer(doc string) (got misread.Members, ok bool) {
	o, err := decode([]byte(doc))
	if err != nil {
		return nil, false
	}
	sentConn, _ := decode([]byte(sentConnection))
	sent, _ := decode([]byte(sentStream))
	connection, _ := TakeConnect(sentConn, o)
	stream, _ := Policy{Mode: Overwrite, Overwrite: []string{"name", "record", "bitrate", "minBitrate", "maxBitrate", "sdp"}}.Take(sent, o)
	var conn wcs.Connection
	var req wcs.StreamRequest
	if (wcs.Command{Arg: Raw(connection)}).Bind(&conn) != nil || (wcs.Command{Arg: Raw(stream)}).Bind(&req) != nil {
		return nil, false
	}
	policies, _ := ParsePolicies(o["restClientConfig"]) // the fault is logged, the rest applies
	got = misread.Members{
		"session": fmt.Sprint(conn.AppKey, conn.AuthToken, string(conn.Sent["sessionId"]), conn.Login()),
		"stream":  fmt.Sprint(req.MediaSessionID, req.SDP, req.Name),
		"record":  fmt.Sprint(req.Record), "keepAlive": fmt.Sprint(conn.KeepAlive), "mediaProviders": strings.Join(conn.MediaProviders, ","),
		"bitrate": fmt.Sprint(req.Bitrate), "minBitrate": fmt.Sprint(req.MinBitrate), "maxBitrate": fmt.Sprint(req.MaxBitrate),
	}
	for _, m := range []Method{PublishStream, PlayStream} {
		p := policies.For(m)
		got[string(m)] = fmt.Sprint(slices.Concat(p.RestExclude, []string{"|"}, p.ClientExclude, []string{"|"}, p.Overwrite), p.OnError == Fail, int(p.Mode))
	}
	return got, true
}

const answerReader = `o => {
  const taken = (name, sent) => o[name] ?? sent;
  const policy = p => {
    const own = name => typeof (p ?? {})[name] === 'string' ? p[name] : '';
    const list = name => [...new Set(own(name).split(',').map(s => s.trim()).filter(s => s))];
    const fixed = ['mediaSessionId', 'sdp', 'sessionId', 'appKey', 'nodeId'];
    const mode = {OVERWRITE: 1, DISABLE: 2, DISABLED: 2}[own('restPolicy').toUpperCase()] ?? 0;
    const all = [...list('restExclude'), '|', ...list('clientExclude'), '|', ...list('restOverwrite').filter(s => !fixed.includes(s))];
    return '[' + all.join(' ') + '] ' + (own('restOnError').toUpperCase() === 'FAIL') + ' ' + mode;
  };
  const config = o.restClientConfig ?? {};
  return {
    session: 'apptoken"id"' + (text((o.custom ?? {}).login) || text(taken('login', 'user'))),
    stream: 'mv=0' + text(taken('name', 's')),
    record: flag(taken('record', false)), keepAlive: flag(taken('keepAlive', true)),
    mediaProviders: taken('mediaProviders', ['WebRTC']).map(text).join(','),
    bitrate: number(taken('bitrate', 1)), minBitrate: number(taken('minBitrate', 2)), maxBitrate: number(taken('maxBitrate', 3)),
    publishStream: policy(config.publishStream), playStream: policy(config.playStream),
  };
}`

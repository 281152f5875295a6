package state

import (
	"context"
	"time"
)

// TranscriptDays is the number of days that an application's transcripts are kept after its last one.
const TranscriptDays = 7

// transcriptsPage is the number of transcripts that are read at a time.
const transcriptsPage = 50

// AddTranscript adds a transcript to those of an application, of which the last ones are kept.
func (r *Redis) AddTranscript(ctx context.Context, app string, keep int, text []byte) error {
	key := r.keys.transcripts(app)
	const lifetime = TranscriptDays * 24 * time.Hour
	return r.read(ctx, "add_transcript", func(ctx context.Context) error {
		_, _, err := r.script(ctx, r.scripts.addTranscript, []string{key}, text, keep, lifetime.Milliseconds())
		return err
	})
}

// Transcripts passes the transcripts of an application to yield, the last one first, until that returns an
// error. Those that are added meanwhile can shift others, which are then passed twice.
func (r *Redis) Transcripts(ctx context.Context, app string, yield func(text string) error) error {
	for from := int64(0); ; from += transcriptsPage {
		var page []string
		err := r.read(ctx, "list_transcripts", func(ctx context.Context) (err error) {
			page, err = r.client.LRange(ctx, r.keys.transcripts(app), from, from+transcriptsPage-1).Result()
			return err
		})
		if err != nil {
			return err
		}
		for _, text := range page {
			if err := yield(text); err != nil {
				return err
			}
		}
		if len(page) < transcriptsPage {
			return nil
		}
	}
}

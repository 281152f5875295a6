package wcsclient

// StreamRequest returns the argument of publishStream or playStream as an SDK sends it.
func StreamRequest(mediaID, name, sdp string, published, audio, video bool) map[string]any {
	return map[string]any{
		"mediaSessionId": mediaID, "name": name, "published": published, "hasVideo": video, "hasAudio": audio,
		"status": "PENDING", "record": false, "mediaProvider": "WebRTC", "sdp": sdp, "bitrate": 0, "minBitrate": 0, "maxBitrate": 0,
	}
}

// VP8Frame returns a VP8 key frame (RFC 6386 §9.1) of a uniform picture. Its two partitions are zero, which
// the decoder reads as: default header, prediction from the neighbours and no coefficients in all
// macroblocks.
func VP8Frame(width, height int) []byte {
	const macroblock = 16 // pixels
	blocks := ((width + macroblock - 1) / macroblock) * ((height + macroblock - 1) / macroblock)
	// A macroblock takes about 4 bits of the first partition and 8 of the second; the header 30 bytes.
	partition := 256 + 2*blocks
	tag := uint32(partition)<<5 | 1<<4 // key frame, version 0, shown
	frame := make([]byte, 10+2*partition)
	copy(frame, []byte{
		byte(tag), byte(tag >> 8), byte(tag >> 16),
		0x9d, 0x01, 0x2a, // start code
		byte(width), byte(width >> 8), byte(height), byte(height >> 8),
	})
	return frame
}

// OpusSilence is one 20 ms frame of silence (RFC 6716: CELT, fullband, mono).
var OpusSilence = []byte{0xf8, 0xff, 0xfe}

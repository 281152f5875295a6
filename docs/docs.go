// Package docs embeds the documents, which the console shows in the version of the gateway. Only
// gateway/console uses it.
package docs

import "embed"

// Files are the documents, by file name.
//
//go:embed *.md
var Files embed.FS

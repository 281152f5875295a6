package pull

// Rights are those of the application whose clients play a source. They are part of the source: sources that
// differ in them have different ids, so that no application gets what only another one may have.
type Rights struct {
	// Transcode: the video of a camera that cannot pass is encoded.
	Transcode bool
	// PublicOnly: the source must be on public networks. A pattern for every host allows it, and none that names
	// its host, domain or network.
	PublicOnly bool
}

// allRights are all values of Rights.
var allRights = []Rights{{}, {Transcode: true}, {PublicOnly: true}, {Transcode: true, PublicOnly: true}}

// text returns the rights as in the input of an id, "" for the zero value. A URL has no line ends.
func (r Rights) text() (text string) {
	if r.Transcode {
		text += "\ntranscode"
	}
	if r.PublicOnly {
		text += "\npublic"
	}
	return text
}

// With returns the source with the rights of an application.
func (s Source) With(r Rights) Source {
	s.rights = r
	return s
}

// Rights returns the rights with which the source is played.
func (s Source) Rights() Rights { return s.rights }

// Variants returns the source with each value of Rights.
func (s Source) Variants() (all []Source) {
	for _, r := range allRights {
		all = append(all, s.With(r))
	}
	return all
}

// Package build names the build of a program. The programs of cmd call it.
package build

import "runtime/debug"

// Version returns the version that the linker has set, else the commit of the build, else "dev".
func Version(linked string) string {
	if linked != "" {
		return linked
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				return s.Value[:12]
			}
		}
	}
	return "dev"
}

package config

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// places maps settings to where they were set.
type places struct {
	file      string
	lines     map[string]int    // in the file, by path
	variables map[string]string // by path
}

// plainPath makes the paths in a Fault and those of a file alike: a[b].c[0] is a.b.c.0.
var plainPath = strings.NewReplacer("[", ".", "]", "")

func (p *places) setByVariable(key, name string) {
	if p.variables == nil {
		p.variables = make(map[string]string)
	}
	p.variables[key] = name
}

// of returns where a setting, or the innermost section around it, was set; "" if it was not.
func (p *places) of(key string) string {
	for path := plainPath.Replace(key); path != ""; path = path[:max(0, strings.LastIndexByte(path, '.'))] {
		if name, ok := p.variables[path]; ok {
			return name
		}
		if line, ok := p.lines[path]; ok {
			return fmt.Sprintf("%s:%d", p.file, line)
		}
	}
	return ""
}

// lines returns the lines of all keys and items of a valid file, by path.
func lines(text []byte) map[string]int {
	found := make(map[string]int)
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		return nil // the file was parsed before
	}
	var walk func(path string, n *yaml.Node)
	walk = func(path string, n *yaml.Node) {
		switch n.Kind {
		case yaml.DocumentNode:
			for _, child := range n.Content {
				walk(path, child)
			}
		case yaml.MappingNode:
			for i := 0; i+1 < len(n.Content); i += 2 {
				key := path + n.Content[i].Value
				found[key] = n.Content[i].Line
				walk(key+".", n.Content[i+1])
			}
		case yaml.SequenceNode:
			for i, child := range n.Content {
				key := fmt.Sprint(path, i)
				found[key] = child.Line
				walk(key+".", child)
			}
		default: // scalars have no keys; aliases are reported where they stand
		}
	}
	walk("", &root)
	return found
}

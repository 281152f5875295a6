package main

import "strings"

// strict converts OpenAPI schemas into JSON schemas that forbid unknown members and have no references.
type strict struct {
	definitions map[string]object
	open        map[string]bool // definitions that the walk is inside of
}

const (
	reference = "#/definitions/"
	quantity  = "io.k8s.apimachinery.pkg.api.resource.Quantity"
)

// schema is one that may be changed.
func (s strict) schema(from object) object {
	if ref, ok := from["$ref"].(string); ok {
		return s.definition(strings.TrimPrefix(ref, reference))
	}
	if from["format"] == "int-or-string" || from["x-kubernetes-int-or-string"] == true {
		return object{"type": []string{"integer", "string"}}
	}
	to := object{}
	for key, value := range from {
		switch {
		case key == "description" || key == "default" || strings.HasPrefix(key, "x-kubernetes"):
		case key == "properties":
			to[key] = s.properties(value)
		default:
			to[key] = s.value(value)
		}
	}
	_, typed := to["properties"]
	_, more := to["additionalProperties"]
	if typed && !more && from["x-kubernetes-preserve-unknown-fields"] != true {
		to["additionalProperties"] = false
	}
	return to
}

// definition is the one of a name; anything where it is inside itself.
func (s strict) definition(name string) object {
	if name == quantity {
		return object{"type": []string{"number", "string"}}
	}
	if s.open[name] {
		return object{}
	}
	s.open[name] = true
	defer delete(s.open, name)
	return s.schema(s.definitions[name])
}

func (s strict) properties(from any) any {
	named, ok := from.(object)
	if !ok {
		return from
	}
	to := object{}
	for name, schema := range named {
		to[name] = s.value(schema)
	}
	return to
}

func (s strict) value(from any) any {
	switch v := from.(type) {
	case object:
		return s.schema(v)
	case []any:
		to := make([]any, len(v))
		for i := range v {
			to[i] = s.value(v[i])
		}
		return to
	}
	return from
}

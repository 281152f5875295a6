package tests

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"sigs.k8s.io/yaml"
)

// values.yaml documents every value of the schema. The schema rejects other values, so rendering would
// fail with them. Only config and secrets have free members.
func TestValuesHaveWhatTheSchemaTakes(t *testing.T) {
	var schema, defaults object
	if err := json.Unmarshal(readFile(t, filepath.Join(chartDir, "values.schema.json")), &schema); err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(readFile(t, filepath.Join(chartDir, "values.yaml")), &defaults); err != nil {
		t.Fatal(err)
	}
	var compare func(path string, schema, defaults object)
	compare = func(path string, schema, defaults object) {
		properties, _ := schema["properties"].(object)
		for name, of := range properties {
			value, there := defaults[name]
			if !there {
				t.Errorf("values.yaml lacks %s", path+name)
				continue
			}
			inner, isMap := value.(object)
			if s, ok := of.(object); ok && isMap && s["additionalProperties"] == false {
				compare(path+name+".", s, inner)
			}
		}
	}
	delete(schema["properties"].(object), "global") // Helm's own
	compare("", schema, defaults)
}

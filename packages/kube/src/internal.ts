// These exports serve the other packages of Heddle, in exactly the same version. They are not stable.
export { parseYaml, YamlError } from './yaml.ts';

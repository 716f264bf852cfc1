// What other packages of Heddle use, in exactly the same version. It is not stable.
export { parseYaml, YamlError } from './yaml.ts';

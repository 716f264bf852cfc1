export { chartFiles } from './chart.ts';
export { settingsDocument } from './document.ts';
export { deploymentObjects, type KubernetesObject } from './objects.ts';
export { allSettings, readSettings } from './settings.ts';
export { goJson, writeYaml } from './yaml.ts';

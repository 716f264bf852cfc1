// Preload this (`node --import`) to simulate a kernel before Linux 6.6, which has no tcx.
import { attachTypes, type LinkCreateOptions, LinuxBpf } from '@heddle/ebpf';
import { errno, SysError } from '@heddle/sys';

const create = LinuxBpf.prototype.linkCreate;

LinuxBpf.prototype.linkCreate = function (this: LinuxBpf, options: LinkCreateOptions): number {
  const { tcx_ingress, tcx_egress } = attachTypes;
  if (options.attachType === tcx_ingress || options.attachType === tcx_egress) {
    throw new SysError('bpf', errno.EINVAL, 'create link');
  }
  return create.call(this, options);
};

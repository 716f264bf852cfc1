export * from './constants.ts';
export { receiveWithDescriptors } from './descriptors.ts';
export { EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, Epoll } from './epoll.ts';
export * from './inotify.ts';
export { type ListenAddress, parseListenAddress } from './listen-address.ts';
export * from './socket-address.ts';
export { listenTcp, localPort } from './tcp-listener.ts';
export {
  AlreadyListening,
  isUnixListening,
  listenUnix,
  removeOwnSocket,
  socketIdentity,
} from './unix-socket.ts';

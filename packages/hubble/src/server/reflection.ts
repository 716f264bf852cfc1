import { create, type DescFile, type DescService, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { Code, type ConnectRouter } from '@connectrpc/connect';
import {
  type ServerReflectionResponse,
  ServerReflectionResponseSchema,
  ServerReflection as V1,
} from '../generated/grpc/reflection/v1/reflection_pb.js';
import {
  ServerReflectionResponseSchema as ResponseSchemaV1Alpha,
  ServerReflection as V1Alpha,
} from '../generated/grpc/reflection/v1alpha/reflection_pb.js';

/** Adds gRPC's server reflection, in both versions, about these services and itself. */
export function addReflection(router: ConnectRouter, services: readonly DescService[]): void {
  const answers = new Reflection([...services, V1, V1Alpha]);
  router.service(V1, {
    async *serverReflectionInfo(requests) {
      for await (const request of requests) {
        yield create(ServerReflectionResponseSchema, {
          originalRequest: request,
          ...answers.answer(request.messageRequest),
        });
      }
    },
  });
  // The messages of the two versions have the same fields.
  router.service(V1Alpha, {
    async *serverReflectionInfo(requests) {
      for await (const request of requests) {
        yield create(ResponseSchemaV1Alpha, {
          originalRequest: request,
          ...(answers.answer(request.messageRequest) as object),
        });
      }
    },
  });
}

type Answer = Pick<ServerReflectionResponse, 'messageResponse'>;

/** Answers questions about the descriptors of services. */
class Reflection {
  readonly #services: readonly DescService[];
  readonly #files = new Map<string, DescFile>();

  constructor(services: readonly DescService[]) {
    this.#services = services;
    for (const { file } of services) this.#add(file);
  }

  #add(file: DescFile): void {
    if (this.#files.has(nameOf(file))) return;
    this.#files.set(nameOf(file), file);
    for (const each of file.dependencies) this.#add(each);
  }

  /** Answers a request of either version. */
  answer(question: { readonly case?: string | undefined; readonly value?: unknown }): Answer {
    const text = String(question.value);
    switch (question.case) {
      case 'listServices': {
        const service = this.#services.map(({ typeName }) => ({ name: typeName }));
        return answered('listServicesResponse', { service });
      }
      case 'fileByFilename':
        return this.#fileAnswer(this.#files.get(text), `file ${text}`);
      case 'fileContainingSymbol':
        return this.#fileAnswer(
          [...this.#files.values()].find((file) => hasSymbol(file, text)),
          `symbol ${text}`,
        );
      case 'allExtensionNumbersOfType':
        return answered('allExtensionNumbersResponse', { baseTypeName: text });
      case 'fileContainingExtension':
        return failed(Code.NotFound, 'the messages have no extensions');
      default:
        return failed(Code.InvalidArgument, 'the request asks for nothing');
    }
  }

  #fileAnswer(file: DescFile | undefined, what: string): Answer {
    if (!file) return failed(Code.NotFound, `there is no ${what}`);
    const wanted = [file];
    for (const each of wanted) {
      wanted.push(...each.dependencies.filter((dependency) => !wanted.includes(dependency)));
    }
    const fileDescriptorProto = wanted.map(({ proto }) =>
      toBinary(FileDescriptorProtoSchema, proto),
    );
    return answered('fileDescriptorResponse', { fileDescriptorProto });
  }
}

/** The names of files of descriptors have no ending in protobuf-es. */
function nameOf(file: DescFile): string {
  return file.proto.name;
}

function hasSymbol(file: DescFile, symbol: string): boolean {
  const methods = file.services.flatMap((service) =>
    service.methods.map(({ name }) => `${service.typeName}.${name}`),
  );
  return [
    ...[...file.services, ...file.messages, ...file.enums].map(({ typeName }) => typeName),
    ...methods,
  ].includes(symbol);
}

function answered(name: string, value: object): Answer {
  return { messageResponse: { case: name, value } } as unknown as Answer;
}

function failed(errorCode: number, errorMessage: string): Answer {
  return answered('errorResponse', { errorCode, errorMessage });
}

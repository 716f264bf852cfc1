// SPDX-License-Identifier: Apache-2.0
/*
 * The CNI plug-in (CNI 1.1.0). The container runtime runs it for each call; it passes the call on
 * to the agent and prints the agent's answer. It answers alone, or does the work itself, where no
 * agent is needed: it reports the versions, and it deletes pod interfaces, because a pod must be
 * removable while no agent runs, and because the deletion takes the kernel 30 ms.
 *
 * The request on the agent's socket: `NAME=VALUE\0` for each environment variable of CNI, with the
 * descriptor of the network namespace, then `\0`, then what the runtime has written to stdin. The
 * answer: `0` for success, `1` for failure, or `2` for a failure of STATUS that ends once the agent
 * has started; then what the runtime reads from stdout.
 */
#include "io.h"
#include "link.h"
#include "ready.h"
#include "text.h"

/* Error codes of CNI. */
enum code {
	INVALID_ENVIRONMENT = 4,
	IO_FAILURE = 5,
	DECODING_FAILURE = 6,
	TRY_AGAIN_LATER = 11,
	NOT_AVAILABLE = 50,
};

enum verb { ADD, DEL, CHECK, GC, STATUS, VERSION, UNKNOWN };

static const struct {
	const char *name;
	/* The environment variables that it needs, besides CNI_COMMAND. */
	const char *needs[4];
} verbs[] = {
	[ADD] = { "ADD", { "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME" } },
	[DEL] = { "DEL", { "CNI_CONTAINERID", "CNI_IFNAME" } },
	[CHECK] = { "CHECK", { "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME" } },
	[GC] = { "GC", {} },
	[STATUS] = { "STATUS", {} },
	[VERSION] = { "VERSION", {} },
};

static char input_bytes[LARGEST], answer_bytes[LARGEST];
static struct text input = { .bytes = input_bytes };
static struct text answer = { .bytes = answer_bytes };

static char **environment;
static enum verb verb;
/* The version in the configuration, or the newest. */
static struct text version = { "1.1.0", 5 };
/* No agent listens, or it has ended before its answer. */
static bool is_away;

/* Returns the value of an environment variable, or NULL if it is missing or empty. */
static const char *variable(const char *name)
{
	struct text wanted = text_of(name);

	for (char **entry = environment; *entry; entry++)
		if (begins_with(*entry, wanted) && (*entry)[wanted.length] == '=')
			return (*entry)[wanted.length + 1] ? *entry + wanted.length + 1 : NULL;
	return NULL;
}

/* Writes the text to stdout and exits. */
_Noreturn static void finish(int status, struct text text)
{
	deadline_ms = monotonic_ms() + 1000;
	while (text.length) {
		long written = write(1, text.bytes, text.length);

		if (written == -EAGAIN && !wait_for(1, POLLOUT))
			leave(1);
		if (written == -EAGAIN || written == -EINTR)
			continue;
		if (written < 0)
			leave(1);
		text.bytes += written;
		text.length -= written;
	}
	leave(status);
}

/* Prints the beginning of an error, up to its message. */
static void begin_error(enum code code)
{
	print_string("{\"cniVersion\":\"");
	print(version);
	print_string("\",\"code\":");
	print_number(code);
	print_string(",\"msg\":\"");
}

_Noreturn static void end_error(void)
{
	print_string("\"}\n");
	finish(1, printed);
}

/* Prints an error and exits. Its details are the subject and the reason. */
_Noreturn static void fail(enum code code, const char *message, struct text subject,
			   const char *reason)
{
	begin_error(code);
	print_string(message);
	print_string("\",\"details\":\"");
	print_escaped(subject);
	print_string(": ");
	print_string(reason);
	end_error();
}

/* Sends the environment variables of CNI, the network namespace, and the input. */
static long send_request(int fd)
{
	const char *path = variable("CNI_NETNS");
	/* Not blocking, as the path may name something else, such as a FIFO. */
	int netns = path ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) : -1;
	long error = 0;

	for (char **entry = environment; *entry && !error; entry++) {
		struct text variable = text_of(*entry);

		if (!begins_with(*entry, text_of("CNI_")))
			continue;
		variable.length++; /* The zero byte. */
		error = send_all(fd, variable, netns);
		netns = -1;
	}
	error = error ?: send_all(fd, (struct text){ "", 1 }, -1);
	return error ?: send_all(fd, input, -1);
}

/* Returns true if the agent has written its whole answer. */
static bool is_answer(void)
{
	struct text json = { answer.bytes + 1, answer.length - 1 };
	struct text ignored;

	if (answer.length == 1)
		return answer.bytes[0] == '0' && verb != ADD;
	if (!answer.length || !read_object(json, "", &ignored))
		return false;
	return answer.bytes[0] == '0' || answer.bytes[0] == '1' ||
	       (answer.bytes[0] == '2' && verb == STATUS);
}

/* Reads the answer of the agent that listens at the path. Returns NULL or why there is none. */
static const char *ask_agent(struct text path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	long left_ms = deadline_ms - monotonic_ms();
	const struct __kernel_old_timeval timeout = { left_ms / 1000, left_ms % 1000 * 1000 + 1 };
	const char *reason;
	long error;
	int fd;

	if (path.length >= sizeof(address.sun_path))
		return "the path is too long";
	memcpy(address.sun_path, path.bytes, path.length);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return meaning_of(fd);
	/* An agent that many wait for makes connect() wait. */
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO_OLD, &timeout, sizeof(timeout));
	do
		error = connect(fd, &address, sizeof(address));
	while (error == -EINTR);
	is_away = error == -ECONNREFUSED || error == -ENOENT;
	if (error)
		return meaning_of(error);
	error = send_request(fd);
	/* An agent that refuses a request may close the connection before it has read all of it. */
	if (error && error != -EPIPE)
		return meaning_of(error);
	shutdown(fd, SHUT_WR);
	reason = read_to_end(fd, &answer, answer_bytes);
	is_away = !answer.length && monotonic_ms() < deadline_ms;
	return is_answer() ? NULL : reason ?: "the connection ended before the answer";
}

/* Deletes the pod interface, unless it is gone. */
static void delete_pod_interface(void)
{
	char name[IFNAMSIZ] = {};
	long error;

	name_pod_interface(name, variable("CNI_CONTAINERID"), variable("CNI_IFNAME"));
	error = delete_link(name);
	if (error && error != -ENODEV)
		fail(IO_FAILURE, "cannot delete the pod interface", text_of(name),
		     meaning_of(error));
}

/* Does what a verb allows while no agent answers, and exits. */
_Noreturn static void act_without_agent(struct text path, const char *reason)
{
	switch (verb) {
	case GC:
		leave(0);
	case DEL:
		delete_pod_interface();
		leave(0);
	case STATUS:
		if (is_away && was_ready(path))
			leave(0);
		fail(NOT_AVAILABLE, "the agent of Heddle does not answer", path, reason);
	default:
		fail(TRY_AGAIN_LATER, "the agent of Heddle does not answer", path, reason);
	}
}

/* Keeps the record of STATUS by the agent's answer. Exits where the record decides. */
static void judge_status(struct text path)
{
	switch (answer.bytes[0]) {
	case '0':
		remember_ready(path);
		break;
	case '1':
		forget_ready(path);
		break;
	default:
		if (was_ready(path))
			leave(0);
	}
}

static void read_version(void)
{
	struct text found = version;

	read_object(input, "cniVersion", &found);
	for (size_t i = 0; i < found.length; i++) {
		char byte = found.bytes[i];

		if (i == 32 || ((byte < '0' || byte > '9') && byte != '.'))
			return;
	}
	if (found.length)
		version = found;
}

static enum verb read_verb(void)
{
	const char *command = variable("CNI_COMMAND");
	enum verb found = ADD;

	while (found != UNKNOWN && !(command && equals(text_of(command), verbs[found].name)))
		found++;
	return found;
}

/* Checks that the environment variables that the verb needs are there. */
static void check_environment(void)
{
	const char *const *needs = verbs[verb].needs;
	bool is_complete = true;

	for (int i = 0; needs[i]; i++) {
		if (variable(needs[i]))
			continue;
		if (is_complete) {
			begin_error(INVALID_ENVIRONMENT);
			print_string("environment variables are missing:");
		}
		print_string(" ");
		print_string(needs[i]);
		is_complete = false;
	}
	if (!is_complete)
		end_error();
}

_Noreturn static void print_versions(void)
{
	struct text ignored;

	if (input.length && !read_object(input, "", &ignored))
		fail(DECODING_FAILURE, "cannot read the configuration", text_of("stdin"),
		     "it is no JSON object");
	print_string("{\"cniVersion\":\"");
	print(version);
	print_string("\",\"supportedVersions\":[\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]}\n");
	finish(0, printed);
}

/*
 * Acts as the plug-in `loopback`, which containerd before 2.0 calls for each pod besides the
 * configured ones. The agent links this name where there is no such plug-in.
 */
_Noreturn static void act_as_loopback(void)
{
	const char *netns = variable("CNI_NETNS");
	long error = 0;

	if (verb == ADD || verb == CHECK)
		error = set_loopback(netns, verb == ADD);
	if (error)
		fail(IO_FAILURE, "the loopback interface is not up", text_of(netns),
		     meaning_of(error));
	if (verb != ADD)
		leave(0);
	print_string("{\"cniVersion\":\"");
	print(version);
	print_string("\",\"interfaces\":[{\"name\":\"lo\",\"mac\":\"00:00:00:00:00:00\","
		     "\"sandbox\":\"");
	print_escaped(text_of(netns));
	print_string("\"}],\"dns\":{}}\n");
	finish(0, printed);
}

/* The stack has the number of arguments, the arguments, NULL, the environment, and NULL. */
_Noreturn __attribute__((used)) static void start(char **stack)
{
	struct text path = text_of("/run/heddle/cni.sock"), type = {};
	const char *reason;

	environment = stack + (long)stack[0] + 2;
	ignore_signal(SIGPIPE);
	verb = read_verb();
	deadline_ms = monotonic_ms() + (verb == ADD ? 20000 : 2000);
	reason = read_to_end(0, &input, input_bytes);
	read_version();
	if (reason)
		fail(reason == too_large ? DECODING_FAILURE : IO_FAILURE,
		     "cannot read the configuration", text_of("stdin"), reason);
	if (verb == UNKNOWN)
		fail(INVALID_ENVIRONMENT, "CNI_COMMAND is missing or unknown",
		     text_of(variable("CNI_COMMAND") ?: "CNI_COMMAND"),
		     "container runtimes call this program with a verb of CNI");
	check_environment();
	if (verb == VERSION)
		print_versions();
	read_object(input, "type", &type);
	if (equals(type, "loopback"))
		act_as_loopback();
	read_object(input, "socket", &path);
	reason = ask_agent(path);
	if (reason)
		act_without_agent(path, reason);
	if (verb == STATUS)
		judge_status(path);
	if (verb == DEL && answer.bytes[0] == '0')
		delete_pod_interface();
	finish(answer.bytes[0] != '0', (struct text){ answer.bytes + 1, answer.length - 1 });
}

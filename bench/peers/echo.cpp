// SPDX-License-Identifier: MIT

// The echo server of bench_echo, with boost.asio's callbacks: of all its ways the one with the
// least around it. Its argument is a port, 0 for any; it prints the one that it listens on.

#include <boost/asio.hpp>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <utility>

using boost::asio::ip::tcp;
using error = boost::system::error_code;

namespace
{

constexpr std::size_t buffer_bytes = 32 * 1024;

class connection : public std::enable_shared_from_this<connection>
{
  public:
    explicit connection(tcp::socket &&from)
        : socket(std::move(from)), buffer(new char[buffer_bytes])
    {
    }

    void receive()
    {
        auto self = shared_from_this();

        socket.async_read_some(boost::asio::buffer(buffer.get(), buffer_bytes),
                               [self](error failed, std::size_t size) {
                                   if (!failed)
                                       self->send(size);
                               });
    }

  private:
    void send(std::size_t size)
    {
        auto self = shared_from_this();

        boost::asio::async_write(socket, boost::asio::buffer(buffer.get(), size),
                                 [self](error failed, std::size_t) {
                                     if (!failed)
                                         self->receive();
                                 });
    }

    tcp::socket socket;
    std::unique_ptr<char[]> buffer;
};

void
accept(tcp::acceptor &acceptor)
{
    acceptor.async_accept([&acceptor](error failed, tcp::socket socket) {
        if (failed) {
            std::fprintf(stderr, "echo_boost: accepting: %s\n", failed.message().c_str());
            std::exit(1);
        }
        socket.set_option(tcp::no_delay(true));
        std::make_shared<connection>(std::move(socket))->receive();
        accept(acceptor);
    });
}

} // namespace

int
main(int argc, char **argv)
{
    if (argc != 2) {
        std::fprintf(stderr, "usage: echo_boost PORT\n");
        return 2;
    }
    boost::asio::io_context context(1);
    tcp::acceptor acceptor(context);
    tcp::endpoint endpoint(boost::asio::ip::address_v4::loopback(),
                           static_cast<unsigned short>(std::atoi(argv[1])));

    acceptor.open(endpoint.protocol());
    acceptor.set_option(tcp::acceptor::reuse_address(true));
    acceptor.bind(endpoint);
    acceptor.listen();
    std::printf("%u\n", static_cast<unsigned>(acceptor.local_endpoint().port()));
    std::fflush(stdout);
    accept(acceptor);
    context.run();
    return 0;
}

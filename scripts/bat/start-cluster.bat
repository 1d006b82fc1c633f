@echo off
rem Starts three coordinators, the workers and the gateway on this machine in the background, waits until they take tasks,
rem and prints the addresses. What runs already stays; data of an earlier run is used. scripts\bat\stop-cluster.bat stops them.
setlocal
call "%~dp0lib.bat" :init
call "%~dp0lib.bat" :options %*
if errorlevel 2 exit /b 2
if errorlevel 1 exit /b 0
call "%~dp0lib.bat" :start_all
call "%~dp0lib.bat" :wait_until_ready
if errorlevel 1 exit /b 1
call "%~dp0lib.bat" :print_addresses

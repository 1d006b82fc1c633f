@echo off
rem Runs three coordinators, two workers and a gateway on this machine, without containers, until a key is pressed: prints the
rem addresses when they take tasks, and stops them in order at the end. The data stays for the next run.
setlocal
call "%~dp0lib.bat" :init
call "%~dp0lib.bat" :options %*
if errorlevel 2 exit /b 2
if errorlevel 1 exit /b 0
call "%~dp0lib.bat" :start_all
call "%~dp0lib.bat" :wait_until_ready
if errorlevel 1 (
  call "%~dp0lib.bat" :stop_all
  exit /b 1
)
call "%~dp0lib.bat" :print_addresses
echo Press a key to stop them.
pause >nul
echo stopping ...
call "%~dp0lib.bat" :stop_all
